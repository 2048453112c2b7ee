//! `GET /openapi.json`: what there is to ask for, as an `OpenAPI` document.

use axum::Json;
use axum::extract::RawQuery;
use serde_json::Value;

use crate::error::ApiError;
use crate::openapi;
use crate::request::query::Query;

/// The endpoint.
pub(crate) async fn openapi(RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    Ok(Json(openapi::document()))
}
