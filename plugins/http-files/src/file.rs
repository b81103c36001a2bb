//! `GET` and `HEAD` of a file: its fields, and the part of it that was asked for.

use std::fs::File;
use std::sync::Arc;

use polyport_sdk::files::{ClientPath, Metadata};
use polyport_sdk::http::{Body, Method, Problem, Request, Response, StatusCode, header};

use crate::conditional::{Conditions, Verdict};
use crate::range::{self, Selection};
use crate::target::file_name;
use crate::validators::Validators;
use crate::{byteranges, content_type, disposition};

/// Answers with an opened file. `path` is the file's own, that of the index where one stands for
/// its folder.
///
/// # Errors
/// 412 for a condition that does not hold, 416 for a range outside of the file.
pub fn respond(
    request: &Request,
    path: &ClientPath,
    file: File,
    metadata: &Metadata,
) -> Result<Response, Problem> {
    let (name, len) = (file_name(path), metadata.len);
    let validators = Validators::of(metadata);
    let conditions = Conditions::of(request);
    match conditions.weigh(Some(&validators), true) {
        Verdict::Proceed => {}
        Verdict::NotModified => {
            return Ok(validators.add_to(Response::new(StatusCode::NOT_MODIFIED)));
        }
        Verdict::Failed => return Err(Problem::new(StatusCode::PRECONDITION_FAILED)),
    }
    // RFC 9110, 14.2: Range is for GET only.
    let range = (request.method == Method::GET)
        .then(|| request.header_list(header::RANGE))
        .flatten()
        .filter(|_| conditions.range_counts(&validators));
    let selection = range.map_or(Selection::Whole, |range| range::select(&range, len));

    let kind = content_type::of(&name);
    let file = Arc::new(file);
    let partial = Response::new(StatusCode::PARTIAL_CONTENT);
    let response = match selection {
        Selection::Whole => Response::new(StatusCode::OK)
            .header_text(header::CONTENT_TYPE, &kind)
            .body(Body::File {
                file,
                offset: 0,
                len,
            }),
        Selection::One(range) => partial
            .header_text(header::CONTENT_TYPE, &kind)
            .header_text(header::CONTENT_RANGE, &range.content_range(len))
            .body(Body::File {
                file,
                offset: range.start,
                len: range.len,
            }),
        Selection::Many(ranges) => {
            let boundary = byteranges::boundary();
            partial
                .header_text(
                    header::CONTENT_TYPE,
                    &format!("multipart/byteranges; boundary={boundary}"),
                )
                .body(byteranges::body(&file, &ranges, len, &kind, &boundary))
        }
        Selection::Unsatisfiable => {
            return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE)
                .detail(format!("the file has {len} bytes"))
                .header(header::ACCEPT_RANGES, "bytes")
                .header_text(header::CONTENT_RANGE, &format!("bytes */{len}")));
        }
    };
    let response = response
        .header(header::ACCEPT_RANGES, "bytes")
        .header_text(header::CONTENT_DISPOSITION, &disposition::inline(&name));
    Ok(validators.add_to(response))
}
