//! An evaluation as a page: figures, plots and clips enter, one HTML file leaves.
//!
//! The file needs nothing beside it: pictures and short videos lie in it, fonts are the reader's own, and it
//! follows their choice of light or dark. What is judged stands beside what bounds it, or rivals it: the series,
//! of which the last is what is judged. Every plot says in words what it shows, and series differ in shape as
//! well as in colour. INVARIANT: whatever the texts are, the page is well-formed and runs no script.

mod plot;
#[cfg(test)]
mod tests;

use std::path::Path;

use self::plot::Mark;
use crate::publish::{FileError, write_file};

/// A whole page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub title: String,
    /// What was evaluated, in a sentence or two.
    pub lead: String,
    /// Name and value: the model, the seed, the number of rows.
    pub facts: Vec<(String, String)>,
    /// Names of the series, each with its heading in tables and its name in sentences; the last is judged.
    pub series: Vec<String>,
    pub sections: Vec<Section>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    pub title: String,
    /// How the figures are measured.
    pub note: String,
    pub figures: Vec<Figure>,
    pub plots: Vec<Plot>,
    pub clips: Vec<Shown>,
}

/// What a number measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// From 0 to 1, written as percent.
    Share,
    /// Any number of a unit, which may be empty.
    Of(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

/// One figure, measured in the same way on each series.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub name: String,
    pub measure: Measure,
    pub better: Better,
    /// In the order of the series.
    pub values: Vec<Option<f64>>,
    /// 95% interval of the last value.
    pub interval: Option<[f64; 2]>,
    pub target: Option<f64>,
}

impl Figure {
    /// Whether what is judged reaches the target; `None` where either is missing.
    pub fn is_met(&self) -> Option<bool> {
        let (judged, target) = ((*self.values.last()?)?, self.target?);
        Some(match self.better {
            Better::Higher => judged >= target,
            Better::Lower => judged <= target,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Bars of one name stand beside each other.
    pub name: String,
    /// Which of the page's series it is of.
    pub series: usize,
    pub value: f64,
    pub interval: Option<[f64; 2]>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Which of the page's series it is of.
    pub series: usize,
    /// Across and up; a gap where nothing is known.
    pub points: Vec<Option<[f64; 2]>>,
}

/// What one side of a plot measures, and from where to where.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub name: String,
    pub measure: Measure,
    pub bounds: [f64; 2],
}

#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    Bars {
        title: String,
        measure: Measure,
        bars: Vec<Bar>,
    },
    /// How often values occur between two bounds; what lies beyond is counted at the edge.
    Histogram {
        title: String,
        unit: String,
        bounds: [f64; 2],
        bins: usize,
        values: Vec<f64>,
        /// Values that count as good.
        within: Option<[f64; 2]>,
    },
    /// Paths over each other, in a view of this many metres.
    Trajectories {
        title: String,
        view_m: [f64; 2],
        lines: Vec<Line>,
    },
    /// One value over another, with a mark at every point.
    Curves {
        title: String,
        across: Axis,
        up: Axis,
        /// Draws where both would be equal.
        diagonal: bool,
        lines: Vec<Line>,
    },
}

/// A clip to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// What was asked for.
    pub caption: String,
    /// What the judges say of it.
    pub note: String,
    /// A PNG that stands for the video until it plays; empty for none.
    pub poster_png: Vec<u8>,
    /// A PNG with frames of the clip; empty for none.
    pub sheet_png: Vec<u8>,
    pub video: Option<Video>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Video {
    /// The bytes of an MP4, which the page holds.
    Inline(Vec<u8>),
    /// An MP4 beside the page, by its name.
    Beside(String),
}

/// Writes the page to `path`.
pub fn write(page: &Page, path: &Path) -> Result<(), FileError> {
    write_file(path, html(page).as_bytes())
}

/// The page.
pub fn html(page: &Page) -> String {
    let mut text = String::new();
    text += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    text += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    text += "<meta name=\"color-scheme\" content=\"light dark\">\n";
    text += &format!("<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n", escape(&page.title));
    text += &format!(
        "<header>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n",
        escape(&page.title),
        escape(&page.lead)
    );
    if !page.facts.is_empty() {
        text += "<dl class=\"facts\">\n";
        for (name, value) in &page.facts {
            text += &format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value));
        }
        text += "</dl>\n";
    }
    text += &summary(page);
    text += "</header>\n";
    if page.sections.len() > 1 {
        text += "<nav aria-label=\"Sections\"><ul>\n";
        for (index, section) in page.sections.iter().enumerate() {
            text += &format!("<li><a href=\"#s{index}\">{}</a></li>\n", escape(&section.title));
        }
        text += "</ul></nav>\n";
    }
    text += "<main>\n";
    for (index, section) in page.sections.iter().enumerate() {
        text += &of_section(index, section, &page.series);
    }
    text += "</main>\n</body>\n</html>\n";
    text
}

/// How many targets are met, and the key to the marks.
fn summary(page: &Page) -> String {
    let verdicts: Vec<bool> =
        page.sections.iter().flat_map(|section| &section.figures).filter_map(Figure::is_met).collect();
    let mut text = String::new();
    if !verdicts.is_empty() {
        let met = verdicts.iter().filter(|met| **met).count();
        text += &format!("<p class=\"sum\"><strong>{met}</strong> of {} targets met</p>\n", verdicts.len());
    }
    text += "<ul class=\"key\" aria-label=\"Key\">\n";
    for (series, name) in page.series.iter().enumerate() {
        text += &format!("<li>{}{}</li>\n", plot::key(Mark::of(series, page.series.len())), escape(name));
    }
    text += &format!("<li>{}95% interval</li>\n", plot::key_interval());
    if !verdicts.is_empty() {
        text += &format!("<li>{}target</li>\n", plot::key_target());
    }
    text + "</ul>\n"
}

fn of_section(index: usize, section: &Section, series: &[String]) -> String {
    let mut text = format!("<section id=\"s{index}\" aria-labelledby=\"h{index}\">\n");
    text += &format!("<h2 id=\"h{index}\">{}</h2>\n", escape(&section.title));
    if !section.note.is_empty() {
        text += &format!("<p class=\"note\">{}</p>\n", escape(&section.note));
    }
    if !section.figures.is_empty() {
        text += &table(&section.figures, series);
    }
    if !section.plots.is_empty() {
        text += "<div class=\"plots\">\n";
        for (place, plot) in section.plots.iter().enumerate() {
            text += &plot::figure(plot, &format!("p{index}-{place}"), series);
        }
        text += "</div>\n";
    }
    if !section.clips.is_empty() {
        text += "<div class=\"clips\">\n";
        section.clips.iter().for_each(|shown| text += &clip(shown));
        text += "</div>\n";
    }
    text + "</section>\n"
}

fn table(figures: &[Figure], series: &[String]) -> String {
    // Not every series has a part in every table.
    let is_shown = |place: usize| {
        place + 1 == series.len()
            || figures.iter().any(|figure| figure.values.get(place).is_some_and(Option::is_some))
    };
    let shown: Vec<usize> = (0..series.len()).filter(|&place| is_shown(place)).collect();
    let has_targets = figures.iter().any(|figure| figure.target.is_some());
    let mut text = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Figures\"><table>\n<thead><tr>",
    );
    text += "<th scope=\"col\">Figure</th>";
    let names = shown.iter().map(|&place| series[place].as_str());
    for name in names.chain(has_targets.then_some("target")) {
        text += &format!("<th scope=\"col\" class=\"n\">{}</th>", escape(&capitalised(name)));
    }
    text += "<th scope=\"col\" class=\"glance\">At a glance</th></tr></thead>\n<tbody>\n";
    for figure in figures {
        let written =
            |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| number(value, &figure.measure));
        text += &format!("<tr><th scope=\"row\">{}</th>", escape(&figure.name));
        for &place in &shown {
            let value = written(figure.values.get(place).copied().flatten());
            if place + 1 < series.len() {
                text += &format!("<td class=\"n\">{value}</td>");
                continue;
            }
            text += &format!("<td class=\"n\"><strong>{value}</strong>");
            if let Some([low, high]) = figure.interval {
                let (low, high) = (number(low, &figure.measure), number(high, &figure.measure));
                text += &format!("<span class=\"ci\">{low} to {high}</span>");
            }
            text += "</td>";
        }
        if has_targets {
            text += "<td class=\"n\">";
            if figure.target.is_some() {
                let sign = if figure.better == Better::Higher { "≥" } else { "≤" };
                text += &format!("{sign} {}", written(figure.target));
            }
            match figure.is_met() {
                Some(true) => text += "<span class=\"met\">✓ met</span>",
                Some(false) => text += "<span class=\"missed\">✗ missed</span>",
                None => {}
            }
            text += "</td>";
        }
        text += &format!("<td class=\"glance\">{}</td></tr>\n", plot::strip(figure));
    }
    text + "</tbody>\n</table></div>\n"
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn clip(shown: &Shown) -> String {
    let mut text = String::from("<figure class=\"clip\">\n");
    if let Some(video) = &shown.video {
        let source = match video {
            Video::Inline(bytes) => format!("data:video/mp4;base64,{}", base64(bytes)),
            Video::Beside(name) => escape(name),
        };
        text += &format!(
            "<video controls loop preload=\"metadata\" playsinline aria-label=\"{}\" src=\"{source}\"",
            escape(&shown.caption)
        );
        if !shown.poster_png.is_empty() {
            text += &format!(" poster=\"data:image/png;base64,{}\"", base64(&shown.poster_png));
        }
        text += "></video>\n";
    }
    if !shown.sheet_png.is_empty() {
        text += &format!(
            "<img loading=\"lazy\" alt=\"Frames of: {}\" src=\"data:image/png;base64,{}\">\n",
            escape(&shown.caption),
            base64(&shown.sheet_png)
        );
    }
    text += &format!("<figcaption>{}", escape(&shown.caption));
    if !shown.note.is_empty() {
        text += &format!("<small>{}</small>", escape(&shown.note));
    }
    text + "</figcaption>\n</figure>\n"
}

/// Text as it may stand in an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other if other.is_control() && !matches!(other, '\n' | '\t') => {}
            other => safe.push(other),
        }
    }
    safe
}

/// A number with as many digits as one reads, and its unit.
fn number(value: f64, measure: &Measure) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match measure {
        Measure::Share => format!("{:.1}%", 100.0 * value),
        Measure::Of(unit) => {
            let digits = match value.abs() {
                size if size >= 100.0 => 0,
                size if size >= 10.0 => 1,
                size if size >= 1.0 || size == 0.0 => 2,
                _ => 3,
            };
            let space = if unit.is_empty() { "" } else { "\u{a0}" };
            format!("{value:.digits$}{space}{}", escape(unit))
        }
    }
}

/// Bytes in the standard base64 alphabet, with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: [char; 64] = {
        let mut alphabet = ['A'; 64];
        let mut index = 0;
        while index < 64 {
            alphabet[index] = match index {
                0..26 => (b'A' + index as u8) as char,
                26..52 => (b'a' + index as u8 - 26) as char,
                52..62 => (b'0' + index as u8 - 52) as char,
                62 => '+',
                _ => '/',
            };
            index += 1;
        }
        alphabet
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            text.push(if place > group.len() { '=' } else { ALPHABET[digit as usize] });
        }
    }
    text
}

const STYLE: &str = include_str!("style.css");
