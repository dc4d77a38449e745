//! Plots as inline SVG: values enter, marks leave, with a title and a sentence for those who cannot see them.

use std::collections::BTreeSet;

use super::{Axis, Bar, Better, Figure, Line, Measure, Plot, escape, number};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Width of a letter, about.
const LETTER: f64 = 6.0;

/// How the marks of a series look: what is judged is a disc, whatever stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Judged,
    /// One of those beside it, from the first.
    Beside(usize),
}

impl Mark {
    pub(super) fn of(series: usize, count: usize) -> Self {
        if series + 1 >= count { Self::Judged } else { Self::Beside(series % BESIDE.len()) }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Judged => "judged",
            Self::Beside(place) => BESIDE[place],
        }
    }

    fn at(self, x: f64, y: f64) -> String {
        let class = self.class();
        let polygon = |corners: &[[f64; 2]]| -> String {
            let corners: Vec<String> =
                corners.iter().map(|[across, down]| format!("{:.1} {:.1}", x + across, y + down)).collect();
            format!("<path class=\"{class}\" d=\"M{}Z\"/>", corners.join("L"))
        };
        match self {
            Self::Judged => format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>"),
            Self::Beside(0) => polygon(&[[-5.0, 0.0], [0.0, -5.0], [5.0, 0.0], [0.0, 5.0]]),
            Self::Beside(1) => polygon(&[[-3.5, -3.5], [3.5, -3.5], [3.5, 3.5], [-3.5, 3.5]]),
            Self::Beside(2) => polygon(&[[-4.5, 4.0], [0.0, -4.5], [4.5, 4.0]]),
            Self::Beside(3) => polygon(&[[-4.5, -4.0], [0.0, 4.5], [4.5, -4.0]]),
            Self::Beside(_) => polygon(&[[-1.5, -5.0], [1.5, -5.0], [1.5, 5.0], [-1.5, 5.0]]),
        }
    }
}

/// Classes of the series beside the judged one.
const BESIDE: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

fn hidden(content: &str) -> String {
    format!("<svg viewBox=\"0 0 26 14\" aria-hidden=\"true\">{content}</svg>")
}

pub(super) fn key(mark: Mark) -> String {
    hidden(&mark.at(13.0, 7.0))
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
    let known: Vec<f64> = figure
        .values
        .iter()
        .copied()
        .flatten()
        .chain(figure.target)
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
    for (series, value) in figure.values.iter().enumerate() {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            marks += &Mark::of(series, figure.values.len()).at(place(value), MIDDLE);
        }
    }
    format!("<svg viewBox=\"0 0 {WIDTH} 36\" aria-hidden=\"true\">{marks}</svg>")
}

/// A plot with its caption.
pub(super) fn figure(plot: &Plot, id: &str, series: &[String]) -> String {
    let (title, said, marks) = match plot {
        Plot::Bars { title, measure, bars } => {
            (title, said_bars(bars, measure, series), draw_bars(bars, measure, series.len()))
        }
        Plot::Histogram { title, unit, bounds, bins, values, within } => {
            let histogram = Histogram::new(values, *bounds, *bins, *within);
            (title, histogram.said(unit), histogram.draw(unit))
        }
        Plot::Trajectories { title, view_m, lines } => {
            (title, said_lines(lines, series), draw_lines(*view_m, lines, series.len()))
        }
        Plot::Curves { title, across, up, diagonal, lines } => (
            title,
            said_curves(across, up, lines, series),
            draw_curves(across, up, *diagonal, lines, series.len()),
        ),
    };
    format!(
        "<figure>\n<figcaption id=\"{id}\">{}</figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id} {id}d\">\
         <desc id=\"{id}d\">{said}</desc>{marks}</svg>\n</figure>\n",
        escape(title)
    )
}

/// The name of a series, as text of the page.
fn name_of(series: usize, names: &[String]) -> String {
    names.get(series).map_or_else(String::new, |name| escape(name))
}

fn said_bars(bars: &[Bar], measure: &Measure, series: &[String]) -> String {
    let said = bars.iter().map(|bar| {
        format!("{}, {}: {}", escape(&bar.name), name_of(bar.series, series), number(bar.value, measure))
    });
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

fn draw_bars(bars: &[Bar], measure: &Measure, series: usize) -> String {
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
                Mark::of(bar.series, series).class(),
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
        // Names that would run into each other stand at an angle.
        marks += &if names.iter().any(|name| name.chars().count() as f64 * LETTER > group) {
            let (x, y) = (middle + 4.0, floor + 12.0);
            format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\" transform=\"rotate(-28 {x:.1} {y:.1})\">{}</text>",
                escape(name)
            )
        } else {
            format!(
                "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                floor + 18.0,
                escape(name)
            )
        };
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
                    "<rect class=\"judged\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
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

fn said_lines(lines: &[Line], series: &[String]) -> String {
    let names: BTreeSet<String> = lines.iter().map(|line| name_of(line.series, series)).collect();
    format!("{} paths over each other: {}", lines.len(), names.into_iter().collect::<Vec<_>>().join(", "))
}

fn draw_lines([wide_m, high_m]: [f64; 2], lines: &[Line], series: usize) -> String {
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
        let mark = Mark::of(line.series, series);
        let place = |[x_m, y_m]: [f64; 2]| {
            [left + x_m.clamp(0.0, wide_m) * scale, floor - y_m.clamp(0.0, high_m) * scale]
        };
        let points = placed(line, place);
        marks += &path(&points, mark);
        if let Some([x, y]) = points.iter().flatten().next() {
            marks += &mark.at(*x, *y);
        }
    }
    marks
}

/// The points of a line that are known, in the picture.
fn placed(line: &Line, place: impl Fn([f64; 2]) -> [f64; 2]) -> Vec<Option<[f64; 2]>> {
    let is_finite = |point: &[f64; 2]| point.iter().all(|value| value.is_finite());
    line.points.iter().map(|point| point.filter(is_finite).map(&place)).collect()
}

/// A path through points of the picture, with its gaps.
fn path(points: &[Option<[f64; 2]>], mark: Mark) -> String {
    let mut path = String::new();
    let mut pen = 'M';
    for point in points {
        match point {
            Some([x, y]) => {
                path += &format!("{pen}{x:.1} {y:.1}");
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    format!("<path class=\"path {}\" d=\"{path}\"/>", mark.class())
}

fn said_curves(across: &Axis, up: &Axis, lines: &[Line], series: &[String]) -> String {
    let said = lines.iter().map(|line| {
        let points = line
            .points
            .iter()
            .flatten()
            .map(|[x, y]| format!("{} at {}", number(*y, &up.measure), number(*x, &across.measure)));
        format!("{}: {}", name_of(line.series, series), points.collect::<Vec<_>>().join(", "))
    });
    format!("{} over {}. {}", escape(&up.name), escape(&across.name), said.collect::<Vec<_>>().join("; "))
}

fn draw_curves(across: &Axis, up: &Axis, diagonal: bool, lines: &[Line], series: usize) -> String {
    let (right, floor) = (WIDTH - 10.0, HEIGHT - BOTTOM);
    let share = |value: f64, [low, high]: [f64; 2]| {
        if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 }
    };
    let place = |[x, y]: [f64; 2]| {
        [LEFT + (right - LEFT) * share(x, across.bounds), floor - (floor - TOP) * share(y, up.bounds)]
    };
    let mut marks = String::new();
    let between = |[low, high]: [f64; 2], step: u32| low + (high - low) * f64::from(step) / 4.0;
    for step in 0..=4 {
        let value = between(up.bounds, step);
        let [_, y] = place([across.bounds[0], value]);
        marks += &format!(
            "<path class=\"axis\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            number(value, &up.measure)
        );
    }
    for (step, anchor) in [(0, "start"), (2, "middle"), (4, "end")] {
        let value = between(across.bounds, step);
        let [x, _] = place([value, up.bounds[0]]);
        let value = number(value, &across.measure);
        let y = floor + 15.0;
        marks += &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{value}</text>");
    }
    marks += &format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, right),
        floor + 29.0,
        escape(&across.name)
    );
    if diagonal {
        let low = across.bounds[0].max(up.bounds[0]);
        let high = across.bounds[1].min(up.bounds[1]);
        let ([x, y], [until_x, until_y]) = (place([low, low]), place([high, high]));
        marks += &format!("<path class=\"target\" d=\"M{x:.1} {y:.1}L{until_x:.1} {until_y:.1}\"/>");
    }
    for line in lines {
        let mark = Mark::of(line.series, series);
        let points = placed(line, place);
        marks += &path(&points, mark);
        points.iter().flatten().for_each(|[x, y]| marks += &mark.at(*x, *y));
    }
    marks
}
