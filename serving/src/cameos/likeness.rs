//! The likeness itself: a picture enters, a 32 x 32 RGB template leaves, and is kept only
//! encrypted under a key of its own. The picture is never stored.
//!
//! INVARIANT: where the key's row is gone, nothing that is left opens the template.

use std::io::Cursor;

use bytes::Bytes;
use image::imageops::{self, FilterType};
use image::{ImageFormat, ImageReader, Limits};
use tokio::sync::Semaphore;

use super::consent::{Pinned, still_permitted};
use crate::db::{Conn, Db};
use crate::error::{ApiError, ApiResult};
use crate::secret::{self, KEY_BYTES};

/// Pixels along each side of a template.
pub const TEMPLATE_SIDE: usize = 32;
/// Bytes of a template: rows of RGB pixels, 8 bits a channel, top left first.
pub const TEMPLATE_BYTES: usize = TEMPLATE_SIDE * TEMPLATE_SIDE * 3;

/// A decoded likeness, as the model takes it.
pub type Template = [u8; TEMPLATE_BYTES];

/// The smallest picture that shows a face well enough.
const MIN_SIDE_PIXELS: u32 = 64;
/// The largest picture that is decoded, along each side; a small file can claim to be huge.
const MAX_SIDE_PIXELS: u32 = 4096;
/// Memory that decoding may take, in bytes: four channels of 16 bits of the largest picture.
const MAX_DECODED_BYTES: u64 = 128 * 1024 * 1024;
/// One picture is decoded at a time, whoever asks.
static DECODING: Semaphore = Semaphore::const_new(1);
/// Least difference between the darkest and the brightest pixel: a blank wall is no likeness.
const MIN_CONTRAST: u8 = 16;

/// [`template_of`] on a blocking thread, when it is this picture's turn.
pub(super) async fn decode(picture: Bytes) -> ApiResult<Template> {
    let turn = DECODING.acquire().await.map_err(ApiError::internal)?;
    let decoding = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        template_of(&picture)
    });
    decoding.await.map_err(ApiError::internal)?
}

/// Decodes, crops to the middle square and shrinks a picture.
fn template_of(picture: &[u8]) -> ApiResult<Template> {
    let refuse = |detail: &str| ApiError::bad_request("picture", detail);
    let mut reader = ImageReader::new(Cursor::new(picture))
        .with_guessed_format()
        .map_err(|_| refuse("`picture` cannot be read"))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(refuse("`picture` must be a PNG or JPEG"));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PIXELS);
    limits.max_image_height = Some(MAX_SIDE_PIXELS);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let image =
        reader.decode().map_err(|_| refuse("`picture` is damaged or too large to decode"))?.into_rgb8();
    let (width, height) = image.dimensions();
    let side = width.min(height);
    if side < MIN_SIDE_PIXELS {
        return Err(refuse("`picture` is smaller than 64 x 64 pixels"));
    }
    let square = imageops::crop_imm(&image, (width - side) / 2, (height - side) / 2, side, side);
    let target = TEMPLATE_SIDE as u32;
    let small = imageops::resize(&*square, target, target, FilterType::Triangle).into_raw();
    let template = Template::try_from(small)
        .map_err(|_| ApiError::internal(anyhow::anyhow!("a resized picture has the wrong size")))?;
    let darkest = template.iter().min().copied().unwrap_or(0);
    let brightest = template.iter().max().copied().unwrap_or(0);
    if brightest - darkest < MIN_CONTRAST {
        return Err(refuse("`picture` is blank; nobody can be made out in it"));
    }
    Ok(template)
}

/// Encrypts a template under a fresh key and stores both.
pub(super) async fn store(conn: &mut Conn, cameo_id: &str, template: &Template) -> ApiResult<()> {
    let key = secret::random::<KEY_BYTES>();
    let sealed = secret::seal(&key, cameo_id.as_bytes(), template).map_err(ApiError::internal)?;
    sqlx::query("INSERT INTO cameo_templates (cameo_id, sealed) VALUES (?, ?)")
        .bind(cameo_id)
        .bind(sealed)
        .execute(&mut *conn)
        .await?;
    sqlx::query("INSERT INTO cameo_keys (cameo_id, key) VALUES (?, ?)")
        .bind(cameo_id)
        .bind(key.as_slice())
        .execute(conn)
        .await?;
    Ok(())
}

/// Destroys the key, and with it the likeness.
pub(super) async fn erase(conn: &mut Conn, cameo_id: &str) -> ApiResult<()> {
    for statement in
        ["DELETE FROM cameo_keys WHERE cameo_id = ?", "DELETE FROM cameo_templates WHERE cameo_id = ?"]
    {
        sqlx::query(statement).bind(cameo_id).execute(&mut *conn).await?;
    }
    Ok(())
}

/// The likeness, for a permission that holds at this moment.
pub async fn template(db: &Db, pin: &Pinned) -> ApiResult<Template> {
    // One snapshot: the permission and the key are read as of the same moment.
    let mut tx = db.read().begin().await?;
    if !still_permitted(&mut tx, pin).await? {
        return Err(ApiError::forbidden(format!("consent to the cameo `{}` was withdrawn", pin.cameo_id)));
    }
    let row: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT key, sealed FROM cameo_keys JOIN cameo_templates USING (cameo_id) WHERE cameo_id = ?",
    )
    .bind(&pin.cameo_id)
    .fetch_optional(&mut *tx)
    .await?;
    // Closes the snapshot at once: an open one would hold back the clearing of an erasure's log.
    tx.rollback().await?;
    let (key, sealed) = row.ok_or_else(|| ApiError::forbidden("the likeness was erased"))?;
    let wrong_length = || ApiError::internal(anyhow::anyhow!("cameo {} is stored damaged", pin.cameo_id));
    let key: [u8; KEY_BYTES] = key.try_into().map_err(|_| wrong_length())?;
    let opened = secret::open(&key, pin.cameo_id.as_bytes(), &sealed).map_err(ApiError::internal)?;
    opened.try_into().map_err(|_| wrong_length())
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, Rgb, RgbImage};
    use proptest::prelude::*;

    use super::*;

    fn encoded(image: RgbImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn the_middle_square_becomes_the_template() {
        // Red left and right of a square whose upper half is white and lower half is black.
        let image = RgbImage::from_fn(256, 128, |x, y| match (x, y) {
            (64..192, 0..64) => Rgb([255, 255, 255]),
            (64..192, _) => Rgb([0, 0, 0]),
            _ => Rgb([255, 0, 0]),
        });
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let template = template_of(&encoded(image.clone(), format)).unwrap();
            let pixel = |row: usize, column: usize| &template[(row * TEMPLATE_SIDE + column) * 3..][..3];
            assert!(pixel(4, 16).iter().all(|channel| *channel > 240), "{:?}", pixel(4, 16));
            assert!(pixel(28, 16).iter().all(|channel| *channel < 15), "{:?}", pixel(28, 16));
        }
    }

    #[test]
    fn what_shows_nobody_is_refused() {
        let blank = encoded(RgbImage::from_pixel(100, 100, Rgb([90, 90, 90])), ImageFormat::Png);
        let tiny = encoded(RgbImage::from_fn(20, 20, |x, _| Rgb([x as u8 * 10; 3])), ImageFormat::Png);
        let wide = RgbImage::from_fn(MAX_SIDE_PIXELS + 1, 64, |x, _| Rgb([x as u8; 3]));
        let wide = encoded(wide, ImageFormat::Png);
        for (picture, word) in
            [(blank, "blank"), (tiny, "smaller"), (wide, "too large"), (b"GIF89a".to_vec(), "PNG or JPEG")]
        {
            let message = template_of(&picture).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut tail: Vec<u8>, cut in 0_usize..200, png: bool) {
            let format = if png { ImageFormat::Png } else { ImageFormat::Jpeg };
            let mut picture = encoded(RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8, y as u8, 0])), format);
            picture.truncate(cut);
            picture.append(&mut tail);
            prop_assert!(template_of(&picture).is_err());
        }
    }
}
