//! Media at rest: only a [`Signed`] clip can be stored, and it is on the disk before the database
//! says that it exists. What leaves is a stream that honours byte ranges.
//!
//! Responses carry `no-cache`: a client may keep the bytes, but asks again before each use, so
//! that consent withdrawn in between is obeyed.

use std::fs::File;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::generations::journey::Signed;
use byte_range::{ByteRange, Requested};

mod byte_range;

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MediaError {
    #[error("cannot use the media directory {}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("cannot write media object `{key}`")]
    Write { key: String, source: object_store::Error },
    #[error("cannot make media object `{key}` durable")]
    Sync { key: String, source: std::io::Error },
    #[error("cannot read media object `{key}`")]
    Read { key: String, source: object_store::Error },
    #[error("cannot delete media object `{key}`")]
    Delete { key: String, source: object_store::Error },
    #[error("media object `{0}` has no valid path")]
    Key(String),
}

/// One rendition of a stored video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Video,
    Thumbnail,
    Spritesheet,
}

impl Variant {
    const ALL: [Self; 3] = [Self::Video, Self::Thumbnail, Self::Spritesheet];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "video" => Some(Self::Video),
            "thumbnail" => Some(Self::Thumbnail),
            "spritesheet" => Some(Self::Spritesheet),
            _ => None,
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Video => "video.mp4",
            Self::Thumbnail => "thumbnail.png",
            Self::Spritesheet => "spritesheet.png",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Video => "video/mp4",
            Self::Thumbnail | Self::Spritesheet => "image/png",
        }
    }
}

/// Where a stored video lies and what it is, for the row that refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Prefix of its objects.
    pub object: String,
    pub bytes: u64,
    /// SHA-256 of the MP4, in hex.
    pub sha256: String,
}

/// The media directory.
#[derive(Clone, Debug)]
pub struct MediaStore {
    store: Arc<LocalFileSystem>,
    root: PathBuf,
}

impl MediaStore {
    pub fn open(root: &FsPath) -> Result<Self, MediaError> {
        let failed = |source| MediaError::Directory { path: root.to_owned(), source };
        std::fs::create_dir_all(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|source| failed(std::io::Error::other(source)))?
            .with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store), root })
    }

    /// Writes the clip and its pictures, synced to disk. The fencing token is part of the name,
    /// so that a worker that lost its lease can never overwrite what its successor wrote.
    pub async fn put(&self, signed: &Signed, fence: i64) -> Result<Stored, MediaError> {
        let object = format!("videos/{}-{fence}", signed.video_id());
        for variant in Variant::ALL {
            let content = match variant {
                Variant::Video => signed.mp4(),
                Variant::Thumbnail => signed.thumbnail(),
                Variant::Spritesheet => signed.spritesheet(),
            };
            self.write(&format!("{object}/{}", variant.file()), content.clone()).await?;
        }
        let sha256 = hex(&Sha256::digest(signed.mp4()));
        Ok(Stored { object, bytes: signed.mp4().len() as u64, sha256 })
    }

    /// The whole MP4, for signing a clip made from it.
    pub async fn mp4(&self, object: &str) -> Result<Bytes, MediaError> {
        let (key, path) = locate(object, Variant::Video)?;
        let read = |source| MediaError::Read { key: key.clone(), source };
        self.store.get(&path).await.map_err(read)?.bytes().await.map_err(read)
    }

    /// Removes every rendition. One that is already gone is no error.
    pub async fn delete(&self, object: &str) -> Result<(), MediaError> {
        for variant in Variant::ALL {
            let (key, path) = locate(object, variant)?;
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(MediaError::Delete { key, source }),
            }
        }
        Ok(())
    }

    /// Removes what no row refers to: a crash between the write and the commit leaves such
    /// objects. `known` tells the prefixes that rows refer to.
    pub async fn sweep(&self, known: impl Fn(&str) -> bool) -> Result<usize, MediaError> {
        let prefix = Path::from("videos");
        let list = |source| MediaError::Read { key: "videos".to_owned(), source };
        let listed = self.store.list_with_delimiter(Some(&prefix)).await.map_err(list)?;
        let mut swept = 0;
        for orphan in listed.common_prefixes.iter().filter(|object| !known(object.as_ref())) {
            self.delete(orphan.as_ref()).await?;
            swept += 1;
        }
        Ok(swept)
    }

    /// The answer to a GET: the whole object, the part that `Range` asks for, or 304.
    pub async fn respond(
        &self,
        object: &str,
        variant: Variant,
        request: &HeaderMap,
    ) -> Result<Response, MediaError> {
        let (key, path) = locate(object, variant)?;
        let read = |source| MediaError::Read { key: key.clone(), source };
        let meta = self.store.head(&path).await.map_err(read)?;
        // The object's name holds its fencing token and is never written twice.
        let etag = format!("\"{:x}-{}\"", meta.size, object.rsplit('-').next().unwrap_or_default());
        let mut headers = vec![
            (header::CONTENT_TYPE, variant.content_type().to_owned()),
            (header::ETAG, etag.clone()),
            (header::CACHE_CONTROL, "private, no-cache".to_owned()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
        ];
        if byte_range::if_none_match(request, &etag) {
            return Ok(answer(StatusCode::NOT_MODIFIED, headers, Body::empty()));
        }
        let (status, range) = match byte_range::requested(request, &etag, meta.size) {
            Requested::Whole => (StatusCode::OK, ByteRange { start: 0, end: meta.size }),
            Requested::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Requested::Unsatisfiable => {
                headers.push((header::CONTENT_RANGE, format!("bytes */{}", meta.size)));
                return Ok(answer(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty()));
            }
        };
        headers.push((header::CONTENT_LENGTH, (range.end - range.start).to_string()));
        if status == StatusCode::PARTIAL_CONTENT {
            let part = format!("bytes {}-{}/{}", range.start, range.end - 1, meta.size);
            headers.push((header::CONTENT_RANGE, part));
        }
        let options =
            GetOptions { range: Some(GetRange::Bounded(range.start..range.end)), ..GetOptions::default() };
        let content = self.store.get_opts(&path, options).await.map_err(read)?.into_stream();
        Ok(answer(status, headers, Body::from_stream(content.map_err(std::io::Error::other).boxed())))
    }

    async fn write(&self, key: &str, content: Bytes) -> Result<(), MediaError> {
        let path = Path::parse(key).map_err(|_| MediaError::Key(key.to_owned()))?;
        self.store
            .put(&path, content.into())
            .await
            .map_err(|source| MediaError::Write { key: key.to_owned(), source })?;
        let file = self.root.join(key);
        let root = self.root.clone();
        tokio::task::spawn_blocking(move || sync_to_disk(&file, &root))
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|source| MediaError::Sync { key: key.to_owned(), source })
    }
}

/// The local object store does not sync: the file and each directory up to the root are synced
/// here, because the database is about to promise that they exist.
fn sync_to_disk(file: &FsPath, root: &FsPath) -> std::io::Result<()> {
    File::open(file)?.sync_all()?;
    for directory in file.ancestors().skip(1) {
        File::open(directory)?.sync_all()?;
        if directory == root {
            break;
        }
    }
    Ok(())
}

fn locate(object: &str, variant: Variant) -> Result<(String, Path), MediaError> {
    let key = format!("{object}/{}", variant.file());
    match Path::parse(&key) {
        Ok(path) => Ok((key, path)),
        Err(_) => Err(MediaError::Key(key)),
    }
}

fn answer(status: StatusCode, headers: Vec<(HeaderName, String)>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
