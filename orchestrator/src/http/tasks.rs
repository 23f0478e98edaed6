//! Camera tasks: how they are, started, paused, resumed and stopped, and what would run together.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use watchpost_api::{PlanQuery, TaskChange, TaskPlan, WantedState};
use watchpost_pipelines::tasks::{
    Conflict, Parameters, TaskId, TaskStatus, Use, plan, standing, why_not,
};

use super::Api;
use super::error::{ApiError, in_our_words};
use super::query::QueryOf;
use crate::protocol::TaskRequest;
use crate::supervisor::TaskRefusal;

/// `GET /api/cameras/{name}/tasks`: the status indicator of each task.
pub async fn list(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Vec<TaskStatus>>, ApiError> {
    let tasks = api.supervisor.tasks(&name).await?;
    tasks.map(Json).ok_or(ApiError::NoSuchCamera(name))
}

/// `POST /api/cameras/{name}/tasks/{task}`: starts it; the body holds its parameters, and may be empty.
pub async fn start(
    State(api): State<Api>,
    Path((name, task)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<TaskStatus>, ApiError> {
    let id = known(&task)?;
    let body = if body.is_empty() {
        serde_json::Value::Null
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| ApiError::Body(format!("it is no JSON: {error}")))?
    };
    let parameters = Parameters::parse(id.task(), body).map_err(|said| {
        ApiError::Body(match said.split_once(": ") {
            Some((of_task, said)) => format!("{of_task}: {}", in_our_words(said)),
            None => said,
        })
    })?;
    ask(&api, &name, TaskRequest::Start { id, parameters }).await
}

/// `PATCH /api/cameras/{name}/tasks/{task}` `{"state": "paused"}`: pauses it; `active` resumes it.
pub async fn change(
    State(api): State<Api>,
    Path((name, task)): Path<(String, String)>,
    body: Result<Json<TaskChange>, JsonRejection>,
) -> Result<Json<TaskStatus>, ApiError> {
    let id = known(&task)?;
    let Json(change) = body?;
    let request = match change.state {
        WantedState::Paused => TaskRequest::Pause(id),
        WantedState::Active => TaskRequest::Resume(id),
    };
    ask(&api, &name, request).await
}

/// `DELETE /api/cameras/{name}/tasks/{task}`: stops it. What it has made stays.
pub async fn stop(
    State(api): State<Api>,
    Path((name, task)): Path<(String, String)>,
) -> Result<Json<TaskStatus>, ApiError> {
    ask(&api, &name, TaskRequest::Stop(known(&task)?)).await
}

fn known(task: &str) -> Result<TaskId, ApiError> {
    task.parse().map_err(ApiError::NoSuchTask)
}

async fn ask(api: &Api, name: &str, request: TaskRequest) -> Result<Json<TaskStatus>, ApiError> {
    match api.supervisor.task(name, request).await? {
        Ok(status) => Ok(Json(status)),
        Err(TaskRefusal::NoCamera(name)) => Err(ApiError::NoSuchCamera(name)),
        Err(refusal) => Err(ApiError::Task(refusal)),
    }
}

/// `GET /api/cameras/{name}/plan?tasks=live,video`: what would run together and why not. Nothing is touched.
pub async fn planned(
    State(api): State<Api>,
    Path(name): Path<String>,
    QueryOf(query): QueryOf<PlanQuery>,
) -> Result<Json<TaskPlan>, ApiError> {
    let mut uses = match &query.tasks {
        None => Use::ALL.to_vec(),
        Some(tasks) => tasks
            .split(',')
            .map(|word| Ok(known(word.trim())?.task().camera_use()))
            .collect::<Result<Vec<_>, ApiError>>()?,
    };
    uses.sort_unstable();
    uses.dedup();
    let camera = api.supervisor.camera(&name).await?;
    let camera = camera.ok_or_else(|| ApiError::NoSuchCamera(name.clone()))?;
    let offer = api.supervisor.offer(&name).await?;
    let offer = offer.as_ref();
    let (configuration, conflicts) = match plan(&camera, &uses, offer) {
        Ok(merged) => (Some(merged), Vec::new()),
        Err(conflicts) => (None, conflicts),
    };
    let refused = |one: &Use| Some(format!("{one}: {}", why_not(&camera, *one, offer)?));
    let mut reasons: Vec<String> = uses.iter().filter_map(refused).collect();
    let configuration = configuration.filter(|_| reasons.is_empty());
    reasons.extend(conflicts.iter().map(Conflict::to_string));
    Ok(Json(TaskPlan {
        uses,
        together: configuration.is_some(),
        configuration,
        reasons,
        conflicts,
        standing: standing(&camera, offer),
    }))
}
