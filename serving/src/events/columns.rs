//! Events as an Arrow IPC stream: columns enter, rows leave as JSON would have brought them.
//!
//! Only plain columns are read. A dictionary, a view or a run would let a small body stand for a large one.

use std::cell::Cell;
use std::panic::catch_unwind;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::root_as_message;
use serde_json::Value;

use super::check_count;
use crate::error::{ApiError, ApiResult};

/// The rows of a body.
pub(super) fn rows_of(body: &[u8]) -> ApiResult<Vec<Result<Value, String>>> {
    const UNREADABLE: &str = "the body is not an Arrow IPC stream that can be read";
    if !is_whole(body) {
        return Err(ApiError::bad_request("body", UNREADABLE));
    }
    // `arrow-ipc` panics where a stream contradicts itself; it leaves nothing behind.
    READING.set(true);
    let read = catch_unwind(|| read(body));
    READING.set(false);
    read.unwrap_or_else(|_| Err(ApiError::bad_request("body", UNREADABLE)))
}

thread_local! {
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread reads a stranger's stream: a panic of its reader is caught and answered, and no bug.
pub fn is_reading() -> bool {
    READING.get()
}

/// Whether every message is as long as it says: memory is taken by what they say.
fn is_whole(mut rest: &[u8]) -> bool {
    const CONTINUES: [u8; 4] = [0xff; 4];
    loop {
        let Some((mark, after)) = rest.split_first_chunk::<4>() else { return rest.is_empty() };
        let (length, after) = match (*mark == CONTINUES).then(|| after.split_first_chunk::<4>()) {
            Some(Some((length, after))) => (*length, after),
            Some(None) => return false,
            None => (*mark, after),
        };
        let Ok(length) = usize::try_from(i32::from_le_bytes(length)) else { return false };
        if length == 0 {
            return true;
        }
        let Some((description, after)) = after.split_at_checked(length) else { return false };
        let Ok(message) = root_as_message(description) else { return false };
        let Ok(length) = usize::try_from(message.bodyLength()) else { return false };
        let Some((_, after)) = after.split_at_checked(length) else { return false };
        rest = after;
    }
}

fn read(body: &[u8]) -> ApiResult<Vec<Result<Value, String>>> {
    let reader = StreamReader::try_new(body, None).map_err(|error| unreadable(&error))?;
    for field in reader.schema().fields() {
        let kind = field.data_type();
        let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Null);
        if !(is_text || kind.is_integer() || kind.is_floating()) {
            let detail = format!(
                "column `{}` is {kind}: send texts, whole numbers and fractions",
                field.name().escape_debug()
            );
            return Err(ApiError::bad_request("body", detail));
        }
    }
    let (mut batches, mut rows) = (Vec::new(), 0);
    for batch in reader {
        let batch: RecordBatch = batch.map_err(|error| unreadable(&error))?;
        rows += batch.num_rows();
        batches.push(batch);
        if rows > 0 {
            check_count(rows)?;
        }
    }
    check_count(rows)?;
    let mut writer = arrow::json::ArrayWriter::new(Vec::new());
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    writer.write_batches(&batches).and_then(|()| writer.finish()).map_err(ApiError::internal)?;
    let values: Vec<Value> = serde_json::from_slice(&writer.into_inner()).map_err(ApiError::internal)?;
    Ok(values.into_iter().map(|row| Ok(with_features(row))).collect())
}

/// Features are a text of JSON in a column, as in the lake's table. What is no JSON stays for the row's own
/// check to refuse.
fn with_features(mut row: Value) -> Value {
    if let Some(features) = row.get_mut("features")
        && let Some(parsed) = features.as_str().and_then(|text| serde_json::from_str(text).ok())
    {
        *features = parsed;
    }
    row
}

fn unreadable(error: &ArrowError) -> ApiError {
    let reason = error.to_string();
    let reason = reason.lines().next().unwrap_or_default();
    ApiError::bad_request("body", format!("the body is not an Arrow IPC stream that can be read: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Float32Array, Int64Array, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow::ipc::writer::StreamWriter;
    use axum::body::Body;
    use axum::http::{Method, Request, header};
    use kinora_schema::EventId;

    use super::*;
    use crate::testing::{NOW_MS, TestApp};

    fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn events() -> Vec<u8> {
        let ids: Vec<String> =
            (0..3).map(|number| EventId::derived("columns", number, "event").to_string()).collect();
        stream(vec![
            ("event_id", Arc::new(StringArray::from(ids))),
            ("kind", Arc::new(StringArray::from(vec!["watch", "like", "nothing"]))),
            ("event_time_ms", Arc::new(Int64Array::from_value(NOW_MS, 3))),
            ("video_id", Arc::new(StringArray::from(vec!["v1"; 3]))),
            ("watch_ms", Arc::new(Int64Array::from(vec![Some(900), None, None]))),
            ("features", Arc::new(StringArray::from(vec![Some("{\"a\": 1.5}"), None, None]))),
            ("a_later_field", Arc::new(Float32Array::from_value(1.0, 3))),
        ])
    }

    #[tokio::test]
    async fn columns_are_taken_row_by_row_as_json_is() {
        let test = TestApp::new().await;
        let ada = test.user("ada").await;
        let send = |body: Vec<u8>| {
            let request = Request::builder()
                .method(Method::POST)
                .uri("/v1/events")
                .header(header::AUTHORIZATION, format!("Bearer {ada}"))
                .header(header::CONTENT_TYPE, super::super::ARROW_STREAM);
            test.send(request.body(Body::from(body)).unwrap())
        };
        let answer = send(events()).await.expect(200);
        let statuses: Vec<&str> =
            answer["results"].as_array().unwrap().iter().filter_map(|row| row["status"].as_str()).collect();
        assert_eq!(statuses, ["accepted", "accepted", "quarantined"]);
        let again = send(events()).await.expect(200);
        assert_eq!((&again["accepted"], &again["duplicates"]), (&0.into(), &2.into()));

        let shared: DictionaryArray<Int32Type> = vec!["watch"; 3].into_iter().collect();
        let problem = send(stream(vec![("kind", Arc::new(shared))])).await.expect(400);
        assert!(problem["detail"].as_str().unwrap().contains("`kind`"), "{problem}");
        assert!(send(b"{}".to_vec()).await.expect(400)["detail"].as_str().unwrap().contains("Arrow"));
    }

    /// Bodies come from strangers: whatever they hold, there is an answer.
    #[test]
    fn a_body_that_is_cut_or_altered_is_read_or_refused() {
        let whole = events();
        assert_eq!(rows_of(&whole).unwrap().len(), 3);
        for at in 0..whole.len() {
            let _ = rows_of(&whole[..at]);
            for bit in [0, 3, 7] {
                let mut altered = whole.clone();
                altered[at] ^= 1 << bit;
                let _ = rows_of(&altered);
            }
        }
    }
}
