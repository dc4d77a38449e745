//! Other codecs, by the `ffmpeg` program: a file goes in, raw frames and samples come back through a pipe.
//!
//! INVARIANT: the arguments are fixed but for numbers and the file's path, which cannot be read as an option
//! or as another protocol; the program reads local files alone, writes no more than was asked for, and is
//! ended when it takes too long.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::container::Kind;
use super::{DecodeError, DecodeOptions, MAX_SIDE, Source};
use crate::clip::Clip;

const TIME_LIMIT: Duration = Duration::from_mins(2);
/// The largest block of memory that the program may take at once.
const MAX_BLOCK_BYTES: &str = "536870912";
/// How often the program is looked after.
const POLL: Duration = Duration::from_millis(5);
/// As much of the program's complaints as is kept.
const COMPLAINT_BYTES: u64 = 4096;

pub(super) fn decode(
    source: Source<'_>,
    codec: &'static str,
    kind: Kind,
    has_sound: bool,
    options: DecodeOptions,
) -> Result<Clip, DecodeError> {
    let path = match source {
        Source::File(path) => path,
        Source::Bytes(bytes) => {
            // The index may lie at the end of the file, so a pipe will not do.
            let write = |source| DecodeError::Read { path: std::env::temp_dir(), source };
            let mut file = tempfile::NamedTempFile::new().map_err(write)?;
            file.write_all(bytes).map_err(write)?;
            return decode(Source::File(file.path()), codec, kind, has_sound, options);
        }
    };
    let program = OsStr::new("ffmpeg");
    let frame_len = options.width as usize * options.height as usize * 3;
    let picture = picture_arguments(path, kind, options);
    let frames = run(program, &picture, frame_len * options.max_frames(), TIME_LIMIT)
        .map_err(|failure| failure.of(codec))?;
    if frames.is_empty() {
        return Err(DecodeError::Empty);
    }
    if !frames.len().is_multiple_of(frame_len) {
        return Err(DecodeError::Ffmpeg { codec, reason: "the last frame is incomplete".to_owned() });
    }
    let mut clip = Clip {
        width: options.width as usize,
        height: options.height as usize,
        fps: options.fps,
        frames,
        sample_rate: options.sample_rate,
        samples: Vec::new(),
    };
    if has_sound {
        let length = options.samples_in(clip.frame_count());
        let sound = sound_arguments(path, kind, options);
        let bytes = run(program, &sound, length * 4, TIME_LIMIT).map_err(|failure| failure.of(codec))?;
        clip.samples = samples(&bytes);
        clip.samples.resize(length, 0.0);
    }
    Ok(clip)
}

fn samples(bytes: &[u8]) -> Vec<f32> {
    let sample = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    let tamed = |sample: f32| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
    bytes.as_chunks::<4>().0.iter().map(sample).map(tamed).collect()
}

/// Frames of RGB8 at the asked rate, cropped about the centre to the asked size.
fn picture_arguments(path: &Path, kind: Kind, options: DecodeOptions) -> Vec<OsString> {
    let DecodeOptions { width, height, fps, .. } = options;
    let filter = format!(
        "fps={fps}:start_time=0,scale={width}:{height}:force_original_aspect_ratio=increase:flags=area,\
         crop={width}:{height}"
    );
    let mut arguments = input_arguments(path, kind, options);
    let frames = options.max_frames().to_string();
    let output = ["-map", "0:v:0", "-vf", &filter, "-frames:v", &frames, "-pix_fmt", "rgb24"];
    arguments.extend(output.map(OsString::from));
    arguments.extend(["-f", "rawvideo", "pipe:1"].map(OsString::from));
    arguments
}

/// Mono samples at the asked rate, padded where the sound begins after the picture.
fn sound_arguments(path: &Path, kind: Kind, options: DecodeOptions) -> Vec<OsString> {
    let rate = options.sample_rate.to_string();
    let mut arguments = input_arguments(path, kind, options);
    let output = ["-map", "0:a:0", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", &rate];
    arguments.extend(output.map(OsString::from));
    arguments.extend(["-f", "f32le", "pipe:1"].map(OsString::from));
    arguments
}

fn input_arguments(path: &Path, kind: Kind, options: DecodeOptions) -> Vec<OsString> {
    // Naming the container keeps play lists, which can name other files, from being followed.
    let container = match kind {
        Kind::Mp4 => "mov",
        Kind::Matroska => "matroska",
    };
    let pixels = (MAX_SIDE * MAX_SIDE).to_string();
    let mut arguments: Vec<OsString> =
        ["-nostdin", "-hide_banner", "-loglevel", "error", "-xerror", "-threads", "1"].map(Into::into).into();
    arguments.extend(["-max_alloc", MAX_BLOCK_BYTES, "-max_pixels", &pixels].map(OsString::from));
    arguments.extend(["-protocol_whitelist", "file"].map(OsString::from));
    arguments.extend(["-f", container, "-i"].map(OsString::from));
    let mut input = OsString::from("file:");
    input.push(path);
    arguments.push(input);
    arguments.extend(["-t", &options.max_seconds.to_string()].map(OsString::from));
    arguments
}

/// Why the program gave nothing.
#[derive(Debug)]
enum Failure {
    Missing,
    Start(io::Error),
    Time(Duration),
    Complaint(String),
}

impl Failure {
    fn of(self, codec: &'static str) -> DecodeError {
        match self {
            Self::Missing => DecodeError::NeedsFfmpeg { codec },
            Self::Start(source) => DecodeError::FfmpegStart(source),
            Self::Time(limit) => DecodeError::FfmpegTime { seconds: limit.as_secs() },
            Self::Complaint(reason) => DecodeError::Ffmpeg { codec, reason },
        }
    }
}

/// Runs the program; returns at most `max_bytes` of what it wrote.
fn run(
    program: &OsStr,
    arguments: &[OsString],
    max_bytes: usize,
    time_limit: Duration,
) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Missing,
        _ => Failure::Start(error),
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (status, bytes, complaint) = thread::scope(|scope| {
        let output = scope.spawn(|| read_up_to(stdout, max_bytes as u64));
        let complaint = scope.spawn(|| {
            let mut stderr = stderr;
            let complaint = read_up_to(stderr.as_mut(), COMPLAINT_BYTES);
            // What is left unread would stop the program.
            let _ = stderr.map(|mut stderr| io::copy(&mut stderr, &mut io::sink()));
            complaint
        });
        let status = wait(&mut child, time_limit);
        (status, output.join().unwrap_or_default(), complaint.join().unwrap_or_default())
    });
    let status = status.map_err(Failure::Start)?.ok_or(Failure::Time(time_limit))?;
    // A program that was cut short when it had written enough complains of a closed pipe.
    if status.success() || bytes.len() == max_bytes {
        Ok(bytes)
    } else {
        Err(Failure::Complaint(first_line(&complaint)))
    }
}

fn read_up_to(source: Option<impl Read>, max_bytes: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        // What came before an error is judged by its length and by the program's exit code.
        let _ = source.take(max_bytes).read_to_end(&mut bytes);
    }
    bytes
}

/// Waits for the program to end; ends it after `limit` and returns `None`.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// The first complaint without the address of the object that complains, which differs in each run.
fn first_line(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it gave no reason");
    let said = line.strip_prefix('[').and_then(|line| line.split_once("] ")).map_or(line, |(_, said)| said);
    said.chars().filter(|letter| !letter.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: DecodeOptions =
        DecodeOptions { width: 64, height: 48, fps: 24, sample_rate: 12_000, max_seconds: 2.5 };

    #[test]
    fn a_path_is_never_an_option_nor_another_protocol() {
        for name in ["-y", "http://host/x.mp4", "concat:a|b", "%d.mp4"] {
            let arguments = picture_arguments(Path::new(name), Kind::Mp4, OPTIONS);
            let input = arguments.iter().position(|argument| argument == "-i").unwrap();
            assert_eq!(arguments[input + 1], OsString::from(format!("file:{name}")));
            assert_eq!(
                arguments.iter().filter(|argument| argument.to_string_lossy().contains(name)).count(),
                1
            );
        }
    }

    #[test]
    fn the_arguments_ask_for_the_size_the_rates_and_the_length() {
        let joined = |arguments: Vec<OsString>| arguments.join(OsStr::new(" ")).into_string().unwrap();
        let picture = joined(picture_arguments(Path::new("a.webm"), Kind::Matroska, OPTIONS));
        for part in ["-f matroska -i file:a.webm -t 2.5 ", "fps=24:", "crop=64:48", "-frames:v 60 ", "rgb24"]
        {
            assert!(picture.contains(part), "{picture} lacks {part}");
        }
        let sound = joined(sound_arguments(Path::new("a.mp4"), Kind::Mp4, OPTIONS));
        for part in ["-f mov -i file:a.mp4 -t 2.5 ", "-ac 1 -ar 12000 -f f32le pipe:1"] {
            assert!(sound.contains(part), "{sound} lacks {part}");
        }
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_do() {
        let failure = run(OsStr::new("no-such-program-anywhere"), &[], 1, TIME_LIMIT).unwrap_err();
        let message = failure.of("HEVC").to_string();
        assert!(message.contains("HEVC") && message.contains("install ffmpeg"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_program_is_held_to_its_time_and_its_bytes() {
        let shell = |script: &str, max_bytes, limit_ms| {
            let arguments = ["-c", script].map(OsString::from);
            run(OsStr::new("sh"), &arguments, max_bytes, Duration::from_millis(limit_ms))
        };
        assert!(matches!(shell("exec sleep 60", 1, 30), Err(Failure::Time(_))));
        assert_eq!(shell("exec yes", 5, 60_000).unwrap(), b"y\ny\ny");
        assert_eq!(shell("printf ab", 5, 60_000).unwrap(), b"ab");
        let Err(Failure::Complaint(reason)) = shell("echo '[h264 @ 0x1] no frame' >&2; exit 1", 5, 60_000)
        else {
            panic!("a failure was taken for success");
        };
        assert_eq!(reason, "no frame");
    }

    #[test]
    fn samples_stay_within_their_range() {
        let bytes: Vec<u8> =
            [0.5_f32, 7.0, f32::NAN].iter().flat_map(|sample| sample.to_le_bytes()).collect();
        assert_eq!(samples(&bytes), [0.5, 1.0, 0.0]);
        assert_eq!(samples(&bytes[..6]), [0.5]);
    }
}
