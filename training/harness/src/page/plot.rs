//! Plots as inline SVG: values enter, marks leave, with a title and a sentence for those who cannot see them.

use std::collections::BTreeSet;

use super::{Bar, Better, Figure, Line, Measure, Plot, Series, escape, number};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;

/// A mark of a series at a place: a hollow diamond, a square or a disc.
fn mark(series: Series, x: f64, y: f64) -> String {
    let class = series.class();
    match series {
        Series::Truth => format!(
            "<path class=\"{class}\" d=\"M{:.1} {y:.1}L{x:.1} {:.1}L{:.1} {y:.1}L{x:.1} {:.1}Z\"/>",
            x - 5.0,
            y - 5.0,
            x + 5.0,
            y + 5.0
        ),
        Series::Reconstruction => {
            format!(
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"/>",
                x - 3.5,
                y - 3.5
            )
        }
        Series::Generated => format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>"),
    }
}

fn hidden(content: &str) -> String {
    format!("<svg viewBox=\"0 0 26 14\" aria-hidden=\"true\">{content}</svg>")
}

pub(super) fn key(series: Series) -> String {
    hidden(&mark(series, 13.0, 7.0))
}

pub(super) fn key_interval() -> String {
    hidden("<path class=\"interval\" d=\"M3 7H23M3 3V11M23 3V11\"/>")
}

pub(super) fn key_target() -> String {
    hidden("<path class=\"target\" d=\"M13 0V14\"/>")
}

/// A figure's values on one line, over the range that they need.
pub(super) fn strip(figure: &Figure) -> String {
    const WIDTH: f64 = 230.0;
    const MARGIN: f64 = 8.0;
    const MIDDLE: f64 = 12.0;
    let values = [figure.truth, figure.reconstruction, figure.generated, figure.target];
    let known: Vec<f64> = values
        .into_iter()
        .flatten()
        .chain(figure.interval.into_iter().flatten())
        .filter(|value| value.is_finite())
        .collect();
    let (least, most) = known.iter().fold((0.0_f64, 0.0_f64), |(low, high), &v| (low.min(v), high.max(v)));
    let (low, high) = match figure.measure {
        // Shares near one, or near nothing, would lie on top of each other.
        Measure::Share if figure.better == Better::Lower => (0.0, round_up(most).clamp(0.01, 1.0)),
        Measure::Share => {
            ([0.9, 0.5].into_iter().find(|low| known.iter().all(|v| v >= low)).unwrap_or(0.0), 1.0)
        }
        Measure::Of(_) if most > least => (least, round_up(most)),
        Measure::Of(_) => (least, least + 1.0),
    };
    let right = WIDTH - MARGIN;
    let place = |value: f64| MARGIN + (right - MARGIN) * ((value - low) / (high - low)).clamp(0.0, 1.0);
    let mut marks = format!("<path class=\"axis\" d=\"M{MARGIN} {MIDDLE}H{right}\"/>");
    for (value, x, anchor) in [(low, MARGIN, "start"), (high, right, "end")] {
        let value = number(value, &figure.measure);
        marks += &format!("<text x=\"{x}\" y=\"34\" text-anchor=\"{anchor}\">{value}</text>");
    }
    if let Some(target) = figure.target.filter(|target| target.is_finite()) {
        let x = place(target);
        let (from, to) = if figure.better == Better::Higher { (x, right) } else { (MARGIN, x) };
        marks += &format!(
            "<rect class=\"band\" x=\"{from:.1}\" y=\"5\" width=\"{:.1}\" height=\"14\"/>",
            to - from
        );
        marks += &format!("<path class=\"target\" d=\"M{x:.1} 0V24\"/>");
    }
    if let Some([from, to]) = figure.interval.filter(|ends| ends.iter().all(|end| end.is_finite())) {
        let (from, to) = (place(from), place(to));
        marks += &format!(
            "<path class=\"interval\" d=\"M{from:.1} {MIDDLE}H{to:.1}M{from:.1} 8V16M{to:.1} 8V16\"/>"
        );
    }
    for (series, value) in [
        (Series::Truth, figure.truth),
        (Series::Reconstruction, figure.reconstruction),
        (Series::Generated, figure.generated),
    ] {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            marks += &mark(series, place(value), MIDDLE);
        }
    }
    format!("<svg viewBox=\"0 0 {WIDTH} 36\" aria-hidden=\"true\">{marks}</svg>")
}

/// A plot with its caption.
pub(super) fn figure(plot: &Plot, id: &str) -> String {
    let (title, said, marks) = match plot {
        Plot::Bars { title, measure, bars } => (title, said_bars(bars, measure), draw_bars(bars, measure)),
        Plot::Histogram { title, unit, bounds, bins, values, within } => {
            let histogram = Histogram::new(values, *bounds, *bins, *within);
            (title, histogram.said(unit), histogram.draw(unit))
        }
        Plot::Trajectories { title, view_m, lines } => (title, said_lines(lines), draw_lines(*view_m, lines)),
    };
    format!(
        "<figure>\n<figcaption id=\"{id}\">{}</figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id} {id}d\">\
         <desc id=\"{id}d\">{said}</desc>{marks}</svg>\n</figure>\n",
        escape(title)
    )
}

fn said_bars(bars: &[Bar], measure: &Measure) -> String {
    let said = bars
        .iter()
        .map(|bar| format!("{}, {}: {}", escape(&bar.name), bar.series.name(), number(bar.value, measure)));
    said.collect::<Vec<_>>().join("; ")
}

/// A round number not below `value`: 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 1.0;
    }
    let power = 10.0_f64.powf(value.log10().floor());
    let digits = [1.0, 2.0, 5.0, 10.0];
    digits
        .into_iter()
        .map(|digit| digit * power)
        .find(|round| *round >= value * (1.0 - 1e-9))
        .unwrap_or(value)
}

fn draw_bars(bars: &[Bar], measure: &Measure) -> String {
    let ends = bars.iter().flat_map(|bar| [bar.value, bar.interval.map_or(0.0, |[_, high]| high)]);
    let most = match measure {
        Measure::Share => 1.0,
        Measure::Of(_) => round_up(ends.filter(|value| value.is_finite()).fold(0.0, f64::max)),
    };
    let (right, floor) = (WIDTH - 6.0, HEIGHT - BOTTOM);
    let place = |value: f64| floor - (floor - TOP) * (value / most).clamp(0.0, 1.0);
    let mut marks = String::new();
    for step in 0..=4 {
        let value = most * f64::from(step) / 4.0;
        let y = place(value);
        marks += &format!("<path class=\"axis\" d=\"M{LEFT} {y:.1}H{right}\"/>");
        marks += &format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            number(value, measure)
        );
    }
    let mut names: Vec<&str> = Vec::new();
    for bar in bars {
        if !names.contains(&bar.name.as_str()) {
            names.push(&bar.name);
        }
    }
    let group = (right - LEFT) / names.len().max(1) as f64;
    for (index, name) in names.iter().enumerate() {
        let own: Vec<&Bar> = bars.iter().filter(|bar| bar.name == *name).collect();
        let middle = LEFT + group * (index as f64 + 0.5);
        let width = (0.8 * group / own.len().max(1) as f64).min(34.0);
        for (at, bar) in own.iter().enumerate() {
            let x = middle + (at as f64 - own.len() as f64 / 2.0) * width;
            let y = place(bar.value);
            marks += &format!(
                "<rect class=\"{}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                bar.series.class(),
                x + 1.5,
                width - 3.0,
                floor - y
            );
            if let Some([low, high]) = bar.interval {
                let (x, low, high) = (x + width / 2.0, place(low), place(high));
                marks += &format!(
                    "<path class=\"interval\" d=\"M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h8M{:.1} {high:.1}h8\"/>",
                    x - 4.0,
                    x - 4.0
                );
            }
        }
        marks += &format!(
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            floor + 18.0,
            escape(name)
        );
    }
    marks
}

/// How often values occur.
struct Histogram {
    bounds: [f64; 2],
    counts: Vec<usize>,
    within: Option<[f64; 2]>,
    share_within: Option<f64>,
    median: Option<f64>,
}

impl Histogram {
    fn new(values: &[f64], [low, high]: [f64; 2], bins: usize, within: Option<[f64; 2]>) -> Self {
        let bins = bins.clamp(1, 200);
        let high = if high > low { high } else { low + 1.0 };
        let mut counts = vec![0; bins];
        let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        for value in &values {
            let bin = (value - low) / (high - low) * bins as f64;
            counts[(bin.max(0.0) as usize).min(bins - 1)] += 1;
        }
        let inside = within.map(|[from, to]| values.iter().filter(|v| (from..=to).contains(*v)).count());
        let share_within =
            inside.filter(|_| !values.is_empty()).map(|count| count as f64 / values.len() as f64);
        Self {
            bounds: [low, high],
            counts,
            within,
            share_within,
            median: values.get(values.len() / 2).copied(),
        }
    }

    fn said(&self, unit: &str) -> String {
        let measure = Measure::Of(unit.to_owned());
        let Some(median) = self.median else { return "no values".to_owned() };
        let mut said =
            format!("{} values, median {}", self.counts.iter().sum::<usize>(), number(median, &measure));
        if let (Some([from, to]), Some(share)) = (self.within, self.share_within) {
            let (from, to) = (number(from, &measure), number(to, &measure));
            said += &format!(", {} between {from} and {to}", number(share, &Measure::Share));
        }
        said
    }

    fn draw(&self, unit: &str) -> String {
        let [low, high] = self.bounds;
        let (left, right, floor) = (10.0, WIDTH - 10.0, HEIGHT - BOTTOM);
        let place = |value: f64| left + (right - left) * ((value - low) / (high - low)).clamp(0.0, 1.0);
        let mut marks = String::new();
        if let Some([from, to]) = self.within {
            let (from, to) = (place(from), place(to));
            marks += &format!(
                "<rect class=\"band\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                to - from,
                floor - TOP
            );
        }
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let width = (right - left) / self.counts.len() as f64;
        for (bin, &count) in self.counts.iter().enumerate() {
            let height = (floor - TOP) * count as f64 / most;
            if count > 0 {
                marks += &format!(
                    "<rect class=\"drawn\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    left + width * bin as f64 + 0.5,
                    floor - height,
                    (width - 1.0).max(0.5)
                );
            }
        }
        marks += &format!("<path class=\"axis\" d=\"M{left} {floor}H{right}\"/>");
        let measure = Measure::Of(unit.to_owned());
        let anchors = [(low, "start"), (f64::midpoint(low, high), "middle"), (high, "end")];
        for (value, anchor) in anchors {
            marks += &format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                place(value),
                floor + 18.0,
                number(value, &measure)
            );
        }
        marks
    }
}

fn said_lines(lines: &[Line]) -> String {
    let series: BTreeSet<&str> = lines.iter().map(|line| line.series.name()).collect();
    format!("{} paths over each other: {}", lines.len(), series.into_iter().collect::<Vec<_>>().join(", "))
}

fn draw_lines([wide_m, high_m]: [f64; 2], lines: &[Line]) -> String {
    let (wide_m, high_m) = (wide_m.max(1e-3), high_m.max(1e-3));
    let scale = ((WIDTH - 20.0) / wide_m).min((HEIGHT - 20.0) / high_m);
    let (left, floor) = ((WIDTH - wide_m * scale) / 2.0, f64::midpoint(HEIGHT, high_m * scale));
    let mut marks = format!(
        "<rect class=\"axis\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        floor - high_m * scale,
        wide_m * scale,
        high_m * scale
    );
    for line in lines {
        let mut path = String::new();
        let mut pen = 'M';
        for point in &line.points {
            match point.filter(|point| point.iter().all(|metres| metres.is_finite())) {
                Some([x_m, y_m]) => {
                    let x = left + x_m.clamp(0.0, wide_m) * scale;
                    let y = floor - y_m.clamp(0.0, high_m) * scale;
                    path += &format!("{pen}{x:.1} {y:.1}");
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        marks += &format!("<path class=\"path {}\" d=\"{path}\"/>", line.series.class());
        if let Some([x_m, y_m]) = line.points.iter().flatten().next() {
            let (x, y) = (left + x_m.clamp(0.0, wide_m) * scale, floor - y_m.clamp(0.0, high_m) * scale);
            marks += &mark(line.series, x, y);
        }
    }
    marks
}
