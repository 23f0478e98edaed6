//! Every request there is, once: the router is made of this table, and the document for programs too.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::access::Action::{self, Configure, Edit, Look, Monitor, Operate, Probe};
use super::{
    Api, analysis, audit, cameras, config, encoded, event_socket, events, grid, health, live,
    media, metrics, openapi, recordings, tasks,
};
use watchpost_api::{
    AnalysedFrame, AuditEntry, AuditQuery, CameraStatus, Change, ChangeOptions, Done, Event,
    EventMessage, EventQuery, EventSocketQuery, Freeze, Health, KeepEvent, MediaEntry, MediaQuery,
    Moving, ObjectEvent, PlanQuery, Readiness, Recordings, RegionGrid, SpanQuery, Status,
    StreamQuery, TaskChange, TaskParameters, TaskPlan,
};
use watchpost_pipelines::tasks::TaskStatus;

/// Stands for the media type where the answer is a WebSocket.
pub const SOCKET: &str = "websocket";

/// Makes the schema of a type.
pub type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// One request: who serves it, and what is said about it.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub summary: &'static str,
    /// What one must be allowed to do for it.
    pub action: Action,
    pub handler: MethodRouter<Api>,
    /// Parameters behind the `?`: the type the handler reads them into.
    pub query: Option<MakeSchema>,
    /// The JSON it takes.
    pub body: Option<MakeSchema>,
    /// What it answers when all is well: a media type, and for JSON what is in it.
    pub answer: (&'static str, Option<MakeSchema>),
}

impl Route {
    fn new<H, T>(
        method: Method,
        path: &'static str,
        action: Action,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("a method of HTTP");
        Self {
            method,
            path,
            summary,
            action,
            handler: on(filter, handler),
            query: None,
            body: None,
            answer: ("application/json", None),
        }
    }

    fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(T::json_schema);
        self
    }

    fn body(mut self, schema: MakeSchema) -> Self {
        self.body = Some(schema);
        self
    }

    fn answers<T: JsonSchema>(mut self) -> Self {
        self.answer.1 = Some(|generator| generator.subschema_for::<T>());
        self
    }

    fn answers_as(mut self, media_type: &'static str) -> Self {
        self.answer.0 = media_type;
        self
    }

    /// A WebSocket whose text messages are of this type.
    fn socket<T: JsonSchema>(self) -> Self {
        self.answers::<T>().answers_as(SOCKET)
    }

    /// Whether the answer goes on until the client leaves.
    pub fn is_stream(&self) -> bool {
        // A clip ends.
        self.path.ends_with(".ws")
            || self.path.ends_with("/live.mp4")
            || matches!(
                self.answer.0,
                "text/event-stream" | "multipart/x-mixed-replace" | SOCKET
            )
    }

    /// A change of the configuration.
    fn changes(self) -> Self {
        self.query::<ChangeOptions>().answers::<Change>()
    }
}

/// All of them.
pub fn all() -> Vec<Route> {
    const CAMERA: &str = "/api/cameras/{name}";
    const GRID: &str = "/api/cameras/{name}/grid";
    const TASK: &str = "/api/cameras/{name}/tasks/{task}";
    let get = Method::GET;
    vec![
        Route::new(get.clone(), "/healthz", Probe, "Whether the supervisor answers; needs no credentials", health::alive)
            .answers::<Health>(),
        Route::new(get.clone(), "/readyz", Look, "Whether every enabled camera streams; 503 with those that do not", health::ready)
            .answers::<Readiness>(),
        Route::new(get.clone(), "/metrics", Monitor, "Metrics for Prometheus", metrics::prometheus).answers_as(metrics::MEDIA_TYPE),
        Route::new(get.clone(), "/api/status", Look, "The program, all cameras, all processes", cameras::status).answers::<Status>(),
        Route::new(get.clone(), "/api/config", Monitor, "The configuration at work; secrets as ***, references unresolved", config::get)
            .answers::<serde_json::Value>(),
        Route::new(Method::POST, "/api/config", Configure, "Replaces the whole configuration", config::post)
            .body(|_| json_schema!({"$ref": "#/components/schemas/Config"}))
            .changes(),
        Route::new(get.clone(), "/api/cameras", Look, "All cameras", cameras::list).answers::<Vec<CameraStatus>>(),
        Route::new(get.clone(), CAMERA, Look, "One camera", cameras::one).answers::<CameraStatus>(),
        Route::new(Method::PUT, CAMERA, Edit, "Adds or replaces a camera", config::put_camera)
            .body(|_| json_schema!({"$ref": "#/components/schemas/CameraConfig"}))
            .changes(),
        Route::new(Method::PATCH, CAMERA, Edit, "Changes some keys of a camera", config::patch_camera)
            .body(|_| {
                json_schema!({
                    "type": "object",
                    "description": "JSON merge patch (RFC 7396) of a CameraConfig: null takes a key away.",
                })
            })
            .changes(),
        Route::new(Method::DELETE, CAMERA, Edit, "Removes a camera; its events stay", config::delete_camera).changes(),
        Route::new(Method::POST, "/api/cameras/{name}/moving", Operate, "Tells that a PTZ camera moves, or has come to rest", cameras::moving)
            .body(|generator| generator.subschema_for::<Moving>())
            .answers::<Moving>(),
        Route::new(get.clone(), "/api/cameras/{name}/plan", Look, "Which tasks would run together, and why not", tasks::planned)
            .query::<PlanQuery>()
            .answers::<TaskPlan>(),
        Route::new(get.clone(), "/api/cameras/{name}/tasks", Look, "The status indicator of each task", tasks::list)
            .answers::<Vec<TaskStatus>>(),
        Route::new(Method::POST, TASK, Operate, "Starts a task with its parameters", tasks::start)
            .body(|generator| generator.subschema_for::<TaskParameters>())
            .answers::<TaskStatus>(),
        Route::new(Method::PATCH, TASK, Operate, "Pauses or resumes a task", tasks::change)
            .body(|generator| generator.subschema_for::<TaskChange>())
            .answers::<TaskStatus>(),
        Route::new(Method::DELETE, TASK, Operate, "Stops a task; what it has made stays", tasks::stop).answers::<TaskStatus>(),
        Route::new(get.clone(), GRID, Look, "What was learned about where objects are, and how large", grid::get)
            .answers::<RegionGrid>(),
        Route::new(Method::DELETE, GRID, Edit, "Forgets what was learned", grid::delete).answers::<Done>(),
        Route::new(get.clone(), "/api/cameras/{name}/grid.svg", Look, "The region grid as a picture", grid::picture)
            .answers_as("image/svg+xml"),
        Route::new(Method::POST, "/api/cameras/{name}/grid/freeze", Operate, "Stops or resumes learning", grid::freeze)
            .body(|generator| generator.subschema_for::<Freeze>())
            .answers::<Done>(),
        Route::new(get.clone(), "/api/events", Look, "Object events, newest first", events::list)
            .query::<EventQuery>()
            .answers::<Vec<ObjectEvent>>(),
        Route::new(
            get.clone(),
            "/api/events/stream", Look,
            "Server-sent events: `track`, `zone`, `motion`, `task`, `media`, `camera` and `configuration`. The header Last-Event-ID, or ?after=, replays what was missed",
            events::stream,
        )
        .query::<StreamQuery>()
        .answers::<Event>()
        .answers_as("text/event-stream"),
        Route::new(
            get.clone(),
            "/api/events/ws",
            Look,
            "WebSocket: the last state, then events as they happen. A client that is too slow gets `lost` and the state anew",
            event_socket::events,
        )
        .query::<EventSocketQuery>()
        .socket::<EventMessage>(),
        Route::new(get.clone(), "/api/events/{id}", Look, "One event", events::one).answers::<ObjectEvent>(),
        Route::new(Method::PUT, "/api/events/{id}/keep", Operate, "Marks an event to keep, or not any longer", events::keep)
            .body(|generator| generator.subschema_for::<KeepEvent>())
            .answers::<ObjectEvent>(),
        Route::new(
            get.clone(),
            "/api/cameras/{name}/analysis.ws",
            Look,
            "WebSocket: the objects in each analysed frame; a client that is slow misses frames",
            analysis::frames,
        )
        .socket::<AnalysedFrame>(),
        Route::new(get.clone(), "/api/cameras/{name}/live.ws", Look, "Live video as fragmented MP4 over a WebSocket", encoded::socket)
            .query::<encoded::LiveQuery>()
            .answers_as("application/octet-stream"),
        Route::new(get.clone(), "/api/cameras/{name}/live.mp4", Look, "The same as an endless MP4", encoded::body)
            .query::<encoded::LiveQuery>()
            .answers_as("video/mp4"),
        Route::new(get.clone(), "/api/cameras/{name}/live.mjpg", Look, "The live picture, as a stream of JPEGs", live::stream)
            .answers_as("multipart/x-mixed-replace"),
        Route::new(get.clone(), "/api/cameras/{name}/snapshot.jpg", Look, "The newest picture, no older than a second", live::snapshot)
            .answers_as("image/jpeg"),
        Route::new(get.clone(), "/api/cameras/{name}/recordings", Look, "What is recorded in a span, for a timeline", recordings::list)
            .query::<SpanQuery>()
            .answers::<Recordings>(),
        Route::new(
            get.clone(),
            "/api/cameras/{name}/recordings/clip.mp4",
            Look,
            "The recording of a span as one MP4 file, cut at key frames, gaps closed; ranges are served",
            recordings::clip,
        )
        .query::<SpanQuery>()
        .answers_as("video/mp4"),
        Route::new(get.clone(), "/api/media", Look, "What cameras' tasks made, newest first", media::list)
            .query::<MediaQuery>()
            .answers::<Vec<MediaEntry>>(),
        Route::new(get.clone(), "/api/media/{id}", Look, "One file's description", media::one).answers::<MediaEntry>(),
        Route::new(get.clone(), "/api/media/{id}/file", Look, "The file; ranges and conditions are served", media::file)
            .answers_as("*/*"),
        Route::new(get.clone(), "/api/media/{id}/thumbnail", Look, "A small JPEG of it", media::thumbnail).answers_as("image/jpeg"),
        Route::new(Method::DELETE, "/api/media/{id}", Edit, "Removes a file; answers with what it was", media::delete)
            .answers::<MediaEntry>(),
        Route::new(get.clone(), "/api/audit", Configure, "Sign-ins, changes and downloads, newest first", audit::list)
            .query::<AuditQuery>()
            .answers::<Vec<AuditEntry>>(),
        Route::new(get, "/api/openapi.json", Look, "This document", openapi::get).answers::<serde_json::Value>(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// That a route names its action is the compiler's business; that it names the right kind is this test's.
    #[test]
    fn every_route_names_what_one_must_be_allowed_to_do() {
        let mut seen = BTreeSet::new();
        for route in all() {
            let name = format!("{} {}", route.method, route.path);
            assert!(seen.insert(name.clone()), "{name} twice");
            let reads = route.method == Method::GET;
            match route.action {
                Probe => assert_eq!(route.path, "/healthz"),
                Look | Monitor => assert!(reads, "{name} changes something"),
                Operate | Edit => {
                    assert!(!reads, "{name} changes nothing");
                    // By the path, or by the item that the handler finds, it is of one camera.
                    let of_one = ["{name}", "{id}"].iter().any(|p| route.path.contains(p));
                    assert!(of_one, "{name} is of all cameras");
                }
                Configure => assert!(!route.path.contains('{'), "{name}"),
            }
            // The decision about a camera is made by this parameter.
            let of_camera = route.path.starts_with("/api/cameras/");
            assert_eq!(of_camera, route.path.contains("{name}"), "{name}");
        }
    }
}
