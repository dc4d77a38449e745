//! Histories for retrieval: the lake's events enter, lines of `user item` leave, each person's in the order in which
//! they first wanted each clip.
//!
//! A clip was wanted by who clicked it, watched it long, or did something with it that is not a complaint. Imported
//! histories come before the events that follow them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use arrow::array::AsArray;
use flate2::Compression;
use flate2::write::GzEncoder;
use kinora_schema::UserId;
use serde::Serialize;

use crate::catalog::for_each_batch;
use crate::durable;
use crate::error::{PipelineError, Result};
use crate::lake::Lake;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SequencesReport {
    pub people: u64,
    pub lines: u64,
    /// Wishes of people or for clips whose ids hold white space, which parts a line.
    pub skipped: u64,
}

/// Writes the histories of all but `opted_out` to `out`, compressed where its name ends in `.gz`; the file is there
/// whole or not at all.
pub async fn write_sequences(
    lake: &Lake,
    out: &Path,
    opted_out: &HashSet<UserId, impl BuildHasher>,
) -> Result<SequencesReport> {
    let context = lake.session().await?;
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let file = BufWriter::new(File::create(partial).map_err(PipelineError::io("create", partial))?);
    let is_packed = out.extension().is_some_and(|extension| extension == "gz");
    let mut writer = if is_packed {
        Lines::Packed(Box::new(GzEncoder::new(file, Compression::default())))
    } else {
        Lines::Plain(file)
    };
    let mut report = SequencesReport::default();
    let mut latest: Option<String> = None;
    let sql = "select arrow_cast(user_id, 'Utf8'), arrow_cast(video_id, 'Utf8') from (
            select user_id, video_id, event_time_ms as wanted_ms, 0 as ordinal from events
            where kind in ('click', 'like', 'share', 'comment', 'follow', 'profile_enter')
                or (kind = 'watch' and watch_ms > 0
                    and watch_ms >= least(coalesce(nullif(duration_ms, 0), 18000), 18000))
            union all select user_id, video_id, before_ms, ordinal from histories where user_id is not null
        ) group by user_id, video_id order by user_id, min(wanted_ms), min(ordinal), video_id";
    for_each_batch(&context, sql, |batch| {
        let [users, videos] = [0, 1].map(|at| batch.column(at).as_string::<i32>());
        for (user, video) in users.iter().zip(videos.iter()) {
            let (user, video) = (user.unwrap_or_default(), video.unwrap_or_default());
            if opted_out.contains(&UserId::from(user)) {
                continue;
            }
            let is_word = |id: &str| !id.is_empty() && !id.contains(char::is_whitespace);
            if !is_word(user) || !is_word(video) {
                report.skipped += 1;
                continue;
            }
            if latest.as_deref() != Some(user) {
                report.people += 1;
                latest = Some(user.to_owned());
            }
            report.lines += 1;
            writer.write(user, video).map_err(PipelineError::io("write", partial))?;
        }
        Ok(())
    })
    .await?;
    writer.finish().map_err(PipelineError::io("write", partial))?;
    durable::sync(partial).map_err(PipelineError::io("write", partial))?;
    fs::rename(partial, out).map_err(PipelineError::io("write", out))?;
    Ok(report)
}

/// A file of lines.
enum Lines {
    Plain(BufWriter<File>),
    Packed(Box<GzEncoder<BufWriter<File>>>),
}

impl Lines {
    fn write(&mut self, user: &str, video: &str) -> io::Result<()> {
        match self {
            Self::Plain(file) => writeln!(file, "{user} {video}"),
            Self::Packed(file) => writeln!(file, "{user} {video}"),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut file) => file.flush(),
            Self::Packed(file) => file.finish()?.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use kinora_schema::EventKind;
    use tempfile::TempDir;

    use super::*;
    use crate::fixtures::{NOW_MS, START_MS, event, outcome};
    use crate::ingest::ingest_events;

    #[tokio::test]
    async fn each_person_s_clips_come_once_in_the_order_of_the_first_wish() {
        let directory = TempDir::new().unwrap();
        let lake = Lake::open(directory.path().join("lake")).await.unwrap();
        let mut events = Vec::new();
        let told = [
            ("u1", "b", EventKind::Click),
            ("u1", "a", EventKind::Like),
            ("u1", "b", EventKind::Like),
            ("u1", "shown", EventKind::Impression),
            ("u1", "bad", EventKind::NotInterested),
            ("u2", "a", EventKind::Click),
            ("private", "a", EventKind::Click),
        ];
        for (number, (user, video, kind)) in (0_u64..).zip(told) {
            let shown = event(number, EventKind::Impression, START_MS + 1000 * number as i64, user, video);
            if kind != EventKind::Impression {
                events.push(outcome(100 + number, kind, 5, &shown));
            }
            events.push(shown);
        }
        ingest_events(&lake, "test", events, NOW_MS).await.unwrap();
        let private = HashSet::from([UserId::from("private")]);
        let expected = "u1 b\nu1 a\nu2 a\n";
        let plain = directory.path().join("histories.txt");
        let report = write_sequences(&lake, &plain, &private).await.unwrap();
        assert_eq!(report, SequencesReport { people: 2, lines: 3, skipped: 0 });
        assert_eq!(fs::read_to_string(&plain).unwrap(), expected);
        let packed = directory.path().join("histories.txt.gz");
        write_sequences(&lake, &packed, &private).await.unwrap();
        let mut text = String::new();
        GzDecoder::new(File::open(&packed).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
        assert!(write_sequences(&lake, &directory.path().join("no/where"), &private).await.is_err());
    }
}
