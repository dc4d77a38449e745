//! The page of an evaluation: its figures and what was kept of its clips enter, the [`Page`] leaves.
//!
//! INVARIANT: every number of the page is one of the report's; targets are named here and nowhere else.

use kinora_harness::page::{Bar, Better, Figure, Line, Measure, Page, Plot, Section, Shown, Video};

use super::families::Seen;
use super::{
    Beside, CaptionFigures, EvaluateError, EvaluateReport, FamilyReport, Figures, Interval, LikenessFigure,
    LikenessFigures, PhyWorldReport, name,
};
use crate::clip::Clip;
use crate::judge::ClipAgreement;
use crate::media::{EncodeOptions, contact_sheet_png, encode_mp4, thumbnail_png};
use crate::painter::Painter;
use crate::performance::Performance;
use crate::world::{Family, Shot};

/// Frames of each clip on a sheet.
pub(super) const SHEET_FRAMES: usize = 8;
/// Width and height of the videos.
const VIDEO_SIDE: usize = 256;
/// Sounds farther from their contacts lie at the histogram's edge.
const FARTHEST_MS: f64 = 60.0;
/// Shares of clips that do as they were told.
const FAITHFUL: f64 = 0.95;

/// What the page shows of a family besides figures.
pub(super) struct Exhibit {
    family: Family,
    shown: Vec<Shown>,
    /// Where the balls of the first scene go.
    paths: Option<Plot>,
    /// Sound minus contact, in the model's clips.
    offsets_ms: Vec<f64>,
}

impl Exhibit {
    pub(super) fn new(family: Family) -> Self {
        Self { family, shown: Vec::new(), paths: None, offsets_ms: Vec::new() }
    }

    pub(super) fn add(&mut self, shown: Option<Shown>, shot: Shot, triple: &[Seen; 3]) {
        self.shown.extend(shown);
        let offsets = triple[2].motion.iter().flat_map(|motion| &motion.offsets_s);
        self.offsets_ms.extend(offsets.map(|offset_s| 1e3 * offset_s));
        let lines: Vec<Line> = triple
            .iter()
            .enumerate()
            .flat_map(|(series, seen)| {
                let paths = seen.motion.iter().flat_map(|motion| &motion.paths_m);
                paths.map(move |path| Line { series, points: path.clone() })
            })
            .collect();
        if self.paths.is_none() && !lines.is_empty() {
            self.paths = Some(Plot::Trajectories {
                title: "Where the balls of the first clip go".to_owned(),
                view_m: [f64::from(shot.view_m()), f64::from(shot.top_m())],
                lines,
            });
        }
    }
}

/// What the page shows of a scene.
pub(super) fn exhibit(
    painter: &Painter<'_>,
    caption: &str,
    drawn: &Performance,
    triple: &[Seen; 3],
) -> Result<Shown, EvaluateError> {
    let small = triple.each_ref().map(|seen| seen.clip.clone());
    Ok(Shown {
        caption: caption.to_owned(),
        note: said(triple[2].verdict.agreement),
        poster_png: poster(&triple[2].clip)?,
        sheet_png: contact_sheet_png(&small, SHEET_FRAMES)?,
        video: Some(video(painter, drawn)?),
    })
}

/// A frame of the middle of a clip.
pub(super) fn poster(clip: &Clip) -> Result<Vec<u8>, EvaluateError> {
    Ok(thumbnail_png(clip, clip.frame_count() / 2)?)
}

/// A performance as a short video.
pub(super) fn video(painter: &Painter<'_>, drawn: &Performance) -> Result<Video, EvaluateError> {
    // Clips are encoded side by side, so one thread each.
    let options = EncodeOptions {
        size: (VIDEO_SIDE as u32, VIDEO_SIDE as u32),
        threads: 1,
        ..EncodeOptions::default()
    };
    Ok(Video::Inline(encode_mp4(&painter.clip(drawn, VIDEO_SIDE, VIDEO_SIDE), options)?))
}

/// What the judges say of a clip.
fn said(agreement: ClipAgreement) -> String {
    let mut parts = vec![if agreement.event() {
        "event right".to_owned()
    } else {
        format!("{:?} where {:?} was asked for", agreement.seen, agreement.asked).to_lowercase()
    }];
    let told = [
        ("colour", agreement.colour),
        ("count seen", agreement.count_seen),
        ("count heard", agreement.count_heard),
    ];
    for (what, right) in told {
        parts.extend(right.map(|right| format!("{what} {}", if right { "right" } else { "wrong" })));
    }
    parts.join(", ")
}

/// The whole page.
pub(super) fn of(report: &EvaluateReport, model: &str, exhibits: Vec<Exhibit>, faces: Vec<Shown>) -> Page {
    let mut sections = vec![captions(report)];
    if let Some(likeness) = &report.likeness {
        sections.push(likeness_section(likeness, faces));
    }
    sections.push(Section {
        title: "Variety".to_owned(),
        note: "The Fréchet distance of half of the clips to the other half of the corpus’s own, by features of \
               the judge of events. A set of clips that all look alike, or unlike the corpus, is far from it; the \
               corpus’s own half is the floor."
            .to_owned(),
        figures: vec![figure(
            "Fréchet distance",
            Measure::Of(String::new()),
            Better::Lower,
            None,
            &report.distance,
        )],
        ..Section::default()
    });
    let mut exhibits = exhibits.into_iter();
    for family in &report.families {
        let own = exhibits.next().filter(|exhibit| exhibit.family == family.family);
        sections.push(family_section(family, own));
    }
    sections.extend(report.phyworld.as_ref().map(phyworld_section));
    let fact = |name: &str, value: String| (name.to_owned(), value);
    Page {
        title: "Video evaluation".to_owned(),
        lead: format!(
            "{} scenes of each of {} families, generated from captions that no training saw, and measured from \
             pixels and samples by the same code as the corpus’s own clips and their reconstructions.",
            report.clips,
            report.families.len()
        ),
        facts: vec![
            fact("Model", model.to_owned()),
            fact("Parameters", format!("{:.2} million", report.parameters as f64 / 1e6)),
            fact("Seed", report.seed.to_string()),
            fact("Takes", report.takes.to_string()),
            fact("Sampler steps", report.steps.to_string()),
            fact("Guidance", report.guidance.to_string()),
        ],
        series: ["ground truth", "reconstruction", "generated"].map(str::to_owned).into(),
        sections,
    }
}

fn captions(report: &EvaluateReport) -> Section {
    let all = &report.captions;
    let bars = |title: &str, groups: Vec<(String, Beside<Option<Interval>>)>| Plot::Bars {
        title: title.to_owned(),
        measure: Measure::Share,
        bars: groups.iter().flat_map(|(name, values)| bars(name, values)).collect(),
    };
    let halves = report.families.chunks(4).map(|families| {
        let groups = families
            .iter()
            .map(|family| (name(family.family).to_owned(), family.captions.read(|figures| figures.event)));
        bars("Clips with the caption’s event", groups.collect())
    });
    Section {
        title: "Captions".to_owned(),
        note: "Whether a clip does what its caption says: small networks that were trained apart from the model \
               name the colour and the event; bounces and jumps are counted by places and by sound."
            .to_owned(),
        figures: caption_figures(all),
        plots: halves.collect(),
        clips: Vec::new(),
    }
}

type CaptionRow = (&'static str, fn(&CaptionFigures) -> Option<Interval>);

fn caption_figures(captions: &Beside<CaptionFigures>) -> Vec<Figure> {
    let rows: [CaptionRow; 4] = [
        ("First actor’s colour", |figures| figures.colour),
        ("Event", |figures| figures.event),
        ("Count, by places", |figures| figures.count_seen),
        ("Count, by sound", |figures| figures.count_heard),
    ];
    let figures = rows.into_iter().map(|(name, read)| {
        figure(name, Measure::Share, Better::Higher, Some(FAITHFUL), &captions.read(read))
    });
    figures.filter(|figure| figure.values[0].is_some()).collect()
}

fn likeness_section(likeness: &Beside<LikenessFigures>, faces: Vec<Shown>) -> Section {
    type Kind = (&'static str, fn(&LikenessFigures) -> &LikenessFigure);
    let kinds: [Kind; 3] = [
        ("People", |figures| &figures.people),
        ("Balls", |figures| &figures.balls),
        ("Voices", |figures| &figures.voices),
    ];
    let mut figures = Vec::new();
    let mut groups = Vec::new();
    for (name, kind) in kinds {
        let top1 = likeness.read(|figures| kind(figures).top1);
        let gallery = kind(&likeness.generated).gallery;
        figures.push(figure(
            &format!("{name}: first of {gallery}"),
            Measure::Share,
            Better::Higher,
            Some(FAITHFUL),
            &top1,
        ));
        figures.push(figure(
            &format!("{name}: right before wrong"),
            Measure::Share,
            Better::Higher,
            Some(FAITHFUL),
            &likeness.read(|figures| kind(figures).swap),
        ));
        groups.extend(bars(&name.to_lowercase(), &top1));
    }
    Section {
        title: "Likeness".to_owned(),
        note: "Cameos whom only a portrait, or a recording of other words, names. Each clip is compared with its \
               own reference and with those of others; first of a hundred, and the right one before one wrong one."
            .to_owned(),
        figures,
        plots: vec![Plot::Bars {
            title: "Most like their own reference".to_owned(),
            measure: Measure::Share,
            bars: groups,
        }],
        clips: faces,
    }
}

fn family_section(report: &FamilyReport, exhibit: Option<Exhibit>) -> Section {
    let mut title = name(report.family).to_owned();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let mut figures = caption_figures(&report.captions);
    let mut note = String::new();
    if let Some(motion) = &report.motion {
        figures.extend(motion_figures(&motion.figures));
        if motion.left_out > 0 {
            note = format!(
                "Scenes whose own clip cannot be followed without a break are left out of the motion: {}.",
                motion.left_out
            );
        }
    }
    let (mut plots, mut clips) = (Vec::new(), Vec::new());
    if let Some(exhibit) = exhibit {
        plots.extend(exhibit.paths);
        if !exhibit.offsets_ms.is_empty() {
            plots.push(Plot::Histogram {
                title: "Sound after its contact, in the model’s clips".to_owned(),
                unit: "ms".to_owned(),
                bounds: [-FARTHEST_MS, FARTHEST_MS],
                bins: 40,
                values: exhibit.offsets_ms,
                within: Some([-10.0, 10.0]),
            });
        }
        clips = exhibit.shown;
        if !clips.is_empty() {
            note += if note.is_empty() { "" } else { " " };
            note += "Below each video, from above: the scene that the caption is of, its reconstruction, the \
                     model’s clip.";
        }
    }
    Section { title, note, figures, plots, clips }
}

fn motion_figures(figures: &Beside<Figures>) -> Vec<Figure> {
    type Row = (&'static str, fn(&Figures) -> Option<Interval>, &'static str, Better, Option<f64>);
    // A unit of "%" stands for a share.
    let rows: [Row; 11] = [
        ("Frames with a teleport", |figures| figures.teleport_frames, "%", Better::Lower, Some(0.0)),
        ("Clips with a teleport", |figures| figures.teleport_clips, "%", Better::Lower, None),
        ("Error of gravity", |figures| figures.gravity_error, "%", Better::Lower, Some(0.05)),
        ("R² of the flights", |figures| figures.gravity_r_squared, "", Better::Higher, None),
        ("Error of restitution", |figures| figures.restitution_error, "", Better::Lower, Some(0.08)),
        ("Spread of restitution", |figures| figures.restitution_spread, "", Better::Lower, Some(0.08)),
        ("Energy from nowhere, a frame", |figures| figures.energy_violation, "%", Better::Lower, None),
        ("Momentum lost in a collision", |figures| figures.momentum_error, "%", Better::Lower, None),
        ("Sound from its contact", |figures| figures.onset_offset_ms, "ms", Better::Lower, Some(10.0)),
        ("Sounds within a frame, F1", |figures| figures.onset_f1, "", Better::Higher, Some(0.9)),
        (
            "Loudness follows impulse, ρ",
            |figures| figures.loudness_correlation,
            "",
            Better::Higher,
            Some(0.7),
        ),
    ];
    let figures = rows.into_iter().map(|(name, read, unit, better, target)| {
        let measure = if unit == "%" { Measure::Share } else { Measure::Of(unit.to_owned()) };
        figure(name, measure, better, target, &figures.read(read))
    });
    figures.filter(|figure| figure.values.iter().any(Option::is_some)).collect()
}

fn phyworld_section(report: &PhyWorldReport) -> Section {
    const THOUSANDTH: f64 = 1e3;
    let figures = report.model.rows.iter().map(|row| {
        let bound = |other: &crate::phyworld::Report| {
            other.row(row.task, row.domain).map(|row| THOUSANDTH * row.error.mean)
        };
        Figure {
            name: format!("{}, {}", row.task, row.domain),
            measure: Measure::Of("·10⁻³".to_owned()),
            better: Better::Lower,
            values: vec![
                bound(&report.ground_truth),
                bound(&report.reconstruction),
                Some(THOUSANDTH * row.error.mean),
            ],
            interval: Some([row.error.low, row.error.high].map(|error| THOUSANDTH * error)),
            target: None,
        }
    });
    Section {
        title: "PhyWorld".to_owned(),
        note: "Velocity errors by the benchmark’s protocol: three frames are given, the rest is predicted, within \
               and outside the training’s ranges."
            .to_owned(),
        figures: figures.collect(),
        ..Section::default()
    }
}

fn figure(
    name: &str,
    measure: Measure,
    better: Better,
    target: Option<f64>,
    values: &Beside<Option<Interval>>,
) -> Figure {
    let value = |interval: Option<Interval>| interval.map(|interval| interval.value);
    Figure {
        name: name.to_owned(),
        measure,
        better,
        values: [values.ground_truth, values.reconstruction, values.generated].map(value).into(),
        interval: values.generated.map(|interval| [interval.low, interval.high]),
        target,
    }
}

fn bars(name: &str, values: &Beside<Option<Interval>>) -> Vec<Bar> {
    let kinds = [values.ground_truth, values.reconstruction, values.generated];
    let bars = kinds.into_iter().enumerate().filter_map(|(series, interval)| {
        let interval = interval?;
        Some(Bar {
            name: name.to_owned(),
            series,
            value: interval.value,
            interval: Some([interval.low, interval.high]),
        })
    });
    bars.collect()
}
