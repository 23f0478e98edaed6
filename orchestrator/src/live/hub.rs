//! One camera's viewers, and the task that serves them from the first to the last.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::ring::RingReader;
use super::{Inner, Maker, NoPicture, Picture};
use crate::run_dir;

/// How often it is looked whether pictures still come.
const LOOK: Duration = Duration::from_secs(1);
/// Without a picture for this long the task is asked for again: it ends where the camera is configured anew.
const OVERDUE: Duration = Duration::from_secs(3);

/// What viewers get to see.
#[derive(Debug, Clone)]
pub enum Show {
    /// Nothing yet.
    Nothing,
    /// This.
    Picture(Picture),
    /// Nothing more.
    Ended(NoPicture),
}

/// One camera's viewers.
#[derive(Debug)]
pub struct Hub {
    camera: String,
    /// A slow viewer finds the newest here, and what it missed nowhere.
    pub show: watch::Sender<Show>,
    /// How many there are.
    pub viewers: watch::Sender<usize>,
}

impl Hub {
    pub fn new(camera: &str) -> Self {
        Self {
            camera: camera.to_owned(),
            show: watch::Sender::new(Show::Nothing),
            viewers: watch::Sender::new(0),
        }
    }

    /// Nobody has looked for this long.
    async fn deserted(&self, linger: Duration) {
        let mut viewers = self.viewers.subscribe();
        loop {
            // An error would say that the sender is gone, which is `self`.
            let _ = viewers.wait_for(|viewers| *viewers == 0).await;
            let back = viewers.wait_for(|viewers| *viewers > 0);
            if tokio::time::timeout(linger, back).await.is_err() {
                return;
            }
        }
    }

    fn is_overdue(&self) -> bool {
        match &*self.show.borrow() {
            Show::Picture(picture) => picture.came.elapsed() >= OVERDUE,
            Show::Nothing | Show::Ended(_) => true,
        }
    }
}

/// Serves viewers until there are none, or nothing for them.
pub async fn run<M: Maker>(hub: Arc<Hub>, live: Arc<Inner<M>>) {
    loop {
        let end = serve(&hub, &live).await;
        let mut hubs = live.hubs();
        // Starting and stopping is done here only and in this order: who came meanwhile is served by another round.
        if end.is_none() && *hub.viewers.borrow() > 0 {
            continue;
        }
        hubs.remove(&hub.camera);
        drop(hubs);
        if let Some(why) = end {
            hub.show.send_replace(Show::Ended(why));
        }
        return;
    }
}

/// One round from start to stop. Answers why it is the last one, if there is somebody to be told.
async fn serve<M: Maker>(hub: &Hub, live: &Inner<M>) -> Option<NoPicture> {
    let camera = hub.camera.as_str();
    if let Err(why) = live.maker.start(camera).await {
        return Some(why);
    }
    let socket = run_dir::live_socket(&live.run_dir, camera);
    let reader = match RingReader::start(camera, &socket, hub.show.clone()) {
        Ok(reader) => reader,
        Err(error) => {
            live.maker.stop(camera).await;
            return Some(NoPicture::Reason(format!(
                "the live picture cannot be read: {error}"
            )));
        }
    };
    let end = tokio::select! {
        () = hub.deserted(live.linger) => None,
        () = live.done.cancelled() => Some(NoPicture::Reason("watchpost is being stopped".into())),
        gone = keep_up(hub, live) => Some(gone),
    };
    reader.stop().await;
    live.maker.stop(camera).await;
    // A later viewer must not see what was.
    hub.show.send_replace(Show::Nothing);
    end
}

/// Asks for the task again where pictures stay away; ends when the camera does.
async fn keep_up<M: Maker>(hub: &Hub, live: &Inner<M>) -> NoPicture {
    let mut wait = OVERDUE;
    loop {
        tokio::time::sleep(wait).await;
        wait = LOOK;
        if !hub.is_overdue() {
            continue;
        }
        wait = OVERDUE;
        match live.maker.start(&hub.camera).await {
            Err(why @ NoPicture::NoCamera(_)) => return why,
            Err(why) => tracing::debug!(camera = hub.camera, "live: {why}"),
            Ok(()) => {}
        }
    }
}
