//! `GET /` and `GET /assets/…`: the page, built into the binary. In debug builds its files are read from the repository
//! at every request, so that a change shows on reload.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::error::{ApiError, Code};

/// The folder `web/`.
#[derive(RustEmbed)]
#[folder = "../../web"]
struct Web;

/// What the page may load: its own files; styles also within its elements, which the plots need.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";

/// The page.
pub(crate) async fn index(headers: HeaderMap) -> Result<Response, ApiError> {
    file("index.html", &headers)
}

/// A file of the page.
pub(crate) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    file(&path, &headers)
}

fn file(path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let nothing = || ApiError::new(Code::NotFound, format!("there is no file {path:?}"));
    // Files of a kind that the page doesn't use, such as a README, are not served.
    let content_type = content_type(path).ok_or_else(nothing)?;
    let file = Web::get(path).ok_or_else(nothing)?;
    let tag = tag(&file);
    let common = [
        (header::ETAG, HeaderValue::try_from(&tag).unwrap_or(HeaderValue::from_static("\"\""))),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    ];
    if is_known(headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    Ok((common, content_type, axum::body::Body::from(file.data)).into_response())
}

/// The file's entity tag: the beginning of its hash.
fn tag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let beginning = hash.first_chunk().copied().map_or(0, u128::from_be_bytes);
    format!("\"{beginning:032x}\"")
}

/// Whether the client has this very file (RFC 9110 section 13.1.2; the comparison is weak).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

fn content_type(path: &str) -> Option<&'static str> {
    let (_, extension) = path.rsplit_once('.')?;
    Some(match extension {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn the_page_and_its_files_are_served_with_their_types() {
        let door = TestDoor::open();
        for (path, content_type) in [
            ("/", "text/html; charset=utf-8"),
            ("/assets/main.js", "text/javascript; charset=utf-8"),
            ("/assets/style.css", "text/css; charset=utf-8"),
            ("/assets/logo.svg", "image/svg+xml"),
        ] {
            let answer = door.get(path).await;
            assert_eq!(answer.status.as_u16(), 200, "{path}");
            assert_eq!(answer.header("content-type"), content_type);
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        }
        for path in ["/assets/nothing.js", "/assets/README.md", "/assets/../Cargo.toml", "/assets/", "/nowhere"] {
            assert_eq!(door.get(path).await.problem().await["code"], "not_found", "{path}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_known_is_not_sent_again() {
        let door = TestDoor::open();
        let tag = door.get("/").await.header("etag");
        let answer = door.request("GET", "/", &[("if-none-match", &tag)], "").await;
        assert_eq!(answer.status.as_u16(), 304);
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.text().await, "");
        let answer = door.request("GET", "/", &[("if-none-match", "\"other\"")], "").await;
        assert_eq!(answer.status.as_u16(), 200);
    }
}
