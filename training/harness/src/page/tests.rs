//! The page as a whole: well-formed, self-contained, and safe whatever the texts are.

use super::*;
use proptest::prelude::*;

/// Checks that every element is closed where it should be, and returns all attributes.
fn elements(page: &str) -> Result<Vec<(String, String)>, String> {
    const VOID: [&str; 3] = ["meta", "img", "!doctype"];
    let (mut open, mut attributes): (Vec<String>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').ok_or("a tag without an end")?;
        let tag = &rest[..end];
        if tag.contains('<') {
            return Err(format!("`<` in <{tag}>"));
        }
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> closes what is not open"));
            }
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default().to_owned();
        let mut left = &tag[name.len()..];
        while let Some(equals) = left.find("=\"") {
            let key = left[..equals].rsplit(' ').next().unwrap_or_default().to_owned();
            let value = &left[equals + 2..];
            let close = value.find('"').ok_or("an attribute without an end")?;
            attributes.push((key, value[..close].to_owned()));
            left = &value[close + 1..];
        }
        if name == "style" {
            rest = &rest[rest.find("</style>").ok_or("style without an end")?..];
        }
        if !VOID.contains(&name.as_str()) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(attributes) } else { Err(format!("{open:?} stay open")) }
}

fn share(name: &str, values: [f64; 3], interval: [f64; 2], target: f64) -> Figure {
    Figure {
        name: name.to_owned(),
        measure: Measure::Share,
        better: Better::Higher,
        values: values.map(Some).into(),
        interval: Some(interval),
        target: Some(target),
    }
}

/// A page whose every text is `text`.
fn page(text: &str) -> Page {
    let owned = || text.to_owned();
    let bar =
        |series, value| Bar { name: owned(), series, value, interval: Some([value - 0.1, value + 0.1]) };
    Page {
        title: owned(),
        lead: owned(),
        facts: vec![(owned(), owned())],
        series: vec![owned(), owned(), owned()],
        sections: vec![
            Section {
                title: owned(),
                note: owned(),
                figures: vec![
                    share(text, [1.0, 0.9, 0.8], [0.7, 0.9], 0.85),
                    Figure {
                        measure: Measure::Of(owned()),
                        ..share(text, [1.0, f64::NAN, 3.0], [2.0, 4.0], 2.0)
                    },
                ],
                plots: vec![
                    Plot::Bars {
                        title: owned(),
                        measure: Measure::Of(owned()),
                        bars: vec![bar(0, 1.0), bar(2, f64::INFINITY)],
                    },
                    Plot::Histogram {
                        title: owned(),
                        unit: owned(),
                        bounds: [-40.0, 40.0],
                        bins: 16,
                        values: vec![-99.0, 0.0, 1.0, f64::NAN, 99.0],
                        within: Some([-10.0, 10.0]),
                    },
                    Plot::Trajectories {
                        title: owned(),
                        view_m: [8.0, 7.2],
                        lines: vec![Line {
                            series: 0,
                            points: vec![Some([1.0, 2.0]), None, Some([9e9, f64::NAN])],
                        }],
                    },
                    Plot::Curves {
                        title: owned(),
                        across: Axis { name: owned(), measure: Measure::Share, bounds: [0.0, 0.0] },
                        up: Axis { name: owned(), measure: Measure::Of(owned()), bounds: [0.0, 1.0] },
                        diagonal: true,
                        lines: vec![Line {
                            series: 7,
                            points: vec![Some([1.0, 2.0]), None, Some([f64::NEG_INFINITY, 0.5])],
                        }],
                    },
                ],
                clips: vec![Shown {
                    caption: owned(),
                    note: owned(),
                    poster_png: vec![5, 6],
                    sheet_png: vec![1, 2, 3, 4],
                    video: Some(Video::Beside(owned())),
                }],
            },
            Section { title: owned(), ..Section::default() },
        ],
    }
}

#[test]
fn a_page_is_well_formed_and_asks_for_nothing_from_outside() {
    let text = html(&page("a red ball"));
    for (name, value) in elements(&text).unwrap() {
        if ["src", "href", "poster"].contains(&name.as_str()) {
            let inside = value.starts_with("data:") || value.starts_with('#') || value == "a red ball";
            assert!(inside, "{name} is `{value}`");
        }
    }
    assert!(!text.contains("<script") && !text.contains("@import") && !text.contains("url("));
    assert!(!text.contains("NaN") && !text.contains("inf\""));
    assert!(
        text.contains("<strong>1</strong> of 2 targets met"),
        "one of the two figures is above its target"
    );
}

#[test]
fn base64_is_that_of_the_rfc() {
    for (plain, coded) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
    assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
}

#[test]
fn numbers_have_as_many_digits_as_one_reads() {
    let ms = Measure::Of("ms".to_owned());
    let written = [0.0123, 1.5, 12.34, 1234.5].map(|value| number(value, &ms));
    assert_eq!(written, ["0.012\u{a0}ms", "1.50\u{a0}ms", "12.3\u{a0}ms", "1234\u{a0}ms"]);
    assert_eq!(number(0.9876, &Measure::Share), "98.8%");
}

proptest! {
    #[test]
    fn no_text_can_break_the_page(text in "[<>&\"' =/a-z\u{1}-\u{8}-]{1,24}") {
        let plain = elements(&html(&page("plain"))).unwrap();
        let found = elements(&html(&page(&text)));
        prop_assert!(found.is_ok(), "{:?}", found);
        let keys = |attributes: &[(String, String)]| -> Vec<String> {
            attributes.iter().map(|(key, _)| key.clone()).collect()
        };
        prop_assert_eq!(keys(&found.unwrap()), keys(&plain), "a text became an attribute");
    }
}
