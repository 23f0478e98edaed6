//! A camera's region grid: seen, as JSON and as a picture, forgotten, frozen.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::Value;
use watchpost_api::{Done, Freeze, RegionGrid};

use super::Api;
use super::error::ApiError;
use crate::protocol::GridAction;

/// `GET /api/cameras/{name}/grid`.
pub async fn get(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<RegionGrid>, ApiError> {
    let grid = load(&api, &name).await?;
    Ok(Json(RegionGrid {
        frozen: grid.as_ref().is_some_and(|grid| grid.frozen),
        updated: grid.as_ref().map(|grid| grid.updated),
        grid: grid
            .and_then(|grid| serde_json::from_str(&grid.json).ok())
            .unwrap_or_default(),
    }))
}

/// `GET /api/cameras/{name}/grid.svg`: each cell with how often and how large, as a share of the frame's width.
pub async fn picture(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let grid = load(&api, &name).await?;
    let grid: Value = grid
        .and_then(|grid| serde_json::from_str(&grid.json).ok())
        .unwrap_or_default();
    Ok(([(CONTENT_TYPE, "image/svg+xml")], draw(&name, &grid)))
}

/// `DELETE /api/cameras/{name}/grid`: forgets what was learned; learning begins anew.
pub async fn delete(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Done>, ApiError> {
    act(&api, &name, GridAction::Reset).await
}

/// `POST /api/cameras/{name}/grid/freeze` {"frozen": boolean}: stops or resumes learning.
pub async fn freeze(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Result<Json<Freeze>, JsonRejection>,
) -> Result<Json<Done>, ApiError> {
    let Json(freeze) = body?;
    let action = if freeze.frozen {
        GridAction::Freeze
    } else {
        GridAction::Thaw
    };
    act(&api, &name, action).await
}

async fn act(api: &Api, name: &str, action: GridAction) -> Result<Json<Done>, ApiError> {
    if api.supervisor.grid(name, action).await? {
        Ok(Json(Done { ok: true }))
    } else {
        Err(ApiError::NoSuchCamera(name.to_owned()))
    }
}

async fn load(api: &Api, name: &str) -> Result<Option<crate::store::Grid>, ApiError> {
    let status = api.supervisor.status().await?;
    if !status.cameras.iter().any(|camera| camera.name == name) {
        return Err(ApiError::NoSuchCamera(name.to_owned()));
    }
    let name = name.to_owned();
    api.ask_store(move |store| store.grid(&name)).await
}

fn draw(name: &str, grid: &Value) -> String {
    const CELL: usize = 80;
    const SIDE: usize = 8;
    let size = CELL * SIDE;
    // Columns of rows, as regiondetect exports them; what is missing reads as null, and null as nothing learned.
    let cell = |x: usize, y: usize| &grid["cells"][x][y];
    let count_of = |x: usize, y: usize| cell(x, y)["count"].as_u64().unwrap_or(0);
    let places = (0..SIDE).flat_map(|x| (0..SIDE).map(move |y| (x, y)));
    let most = places
        .clone()
        .map(|(x, y)| count_of(x, y))
        .max()
        .unwrap_or(0)
        .max(1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" font-family=\"sans-serif\" \
         font-size=\"13\" text-anchor=\"middle\"><title>Region grid of {name}</title>\
         <rect width=\"{size}\" height=\"{size}\" fill=\"#16202c\"/>"
    );
    for (column, row) in places {
        let (x, y, cell, count) = (
            column * CELL,
            row * CELL,
            cell(column, row),
            count_of(column, row),
        );
        let strength = (count as f64 / most as f64).sqrt();
        let _ = write!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"#3aa0ff\" fill-opacity=\"{strength:.2}\" \
             stroke=\"#345\"/>"
        );
        if count > 0 {
            let (cx, mean) = (x + CELL / 2, cell["mean"].as_f64().unwrap_or(0.0));
            let deviation = cell["std_dev"].as_f64().unwrap_or(0.0);
            let _ = write!(
                svg,
                "<g fill=\"#fff\"><text x=\"{cx}\" y=\"{}\">{count}x</text><text x=\"{cx}\" y=\"{}\">{mean:.2} ± {deviation:.2}</text></g>",
                y + 35,
                y + 55
            );
        }
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_picture_shows_what_was_learned_and_an_empty_grid_too() {
        let mut cells = vec![vec![json!({ "count": 0, "mean": 0.0, "std_dev": 0.0 }); 8]; 8];
        cells[2][5] = json!({ "count": 12, "mean": 0.25, "std_dev": 0.05 });
        let svg = draw("front", &json!({ "cells": cells }));
        assert!(
            svg.contains(r#"<text x="200" y="435">12x"#),
            "column 2, row 5: {svg}"
        );
        assert!(svg.contains("12x") && svg.contains("0.25 ± 0.05"), "{svg}");
        assert!(draw("front", &Value::Null).ends_with("</svg>"));
    }
}
