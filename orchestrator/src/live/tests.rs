//! A real ring that a real pipeline fills with JPEGs, and viewers of all kinds.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gst::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const LINGER: Duration = Duration::from_millis(400);

/// A camera whose live picture runs while it is asked for.
#[derive(Clone)]
struct Camera {
    socket: PathBuf,
    state: Arc<CameraState>,
}

#[derive(Default)]
struct CameraState {
    starts: AtomicUsize,
    stops: AtomicUsize,
    removed: AtomicBool,
    pipeline: Mutex<Option<gst::Pipeline>>,
}

impl Camera {
    fn new(run_dir: &Path) -> Self {
        gst::init().unwrap();
        gstshmring::plugin_register_static().unwrap();
        std::fs::create_dir(run_dir.join("front")).unwrap();
        Self {
            socket: crate::run_dir::live_socket(run_dir, "front"),
            state: Arc::default(),
        }
    }

    fn play(&self) {
        let line = format!(
            "videotestsrc is-live=true pattern=snow ! video/x-raw,width=640,height=480,framerate=50/1 ! jpegenc quality=95 \
             ! shmringsink name=ring socket-path={} slots=8",
            self.socket.display()
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        self.replace(Some(pipeline));
    }

    fn replace(&self, pipeline: Option<gst::Pipeline>) {
        let old = std::mem::replace(&mut *self.state.pipeline.lock().unwrap(), pipeline);
        if let Some(old) = old {
            old.set_state(gst::State::Null).unwrap();
        }
    }

    /// A counter of the ring.
    fn ring(&self, counter: &str) -> u64 {
        let pipeline = self.state.pipeline.lock().unwrap();
        let sink = pipeline.as_ref().unwrap().by_name("ring").unwrap();
        sink.property::<gst::Structure>("stats")
            .get(counter)
            .unwrap()
    }

    fn counts(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.state.starts), count(&self.state.stops))
    }
}

impl Drop for CameraState {
    fn drop(&mut self) {
        if let Some(pipeline) = self.pipeline.lock().unwrap().take() {
            let _ = pipeline.set_state(gst::State::Null);
        }
    }
}

impl Maker for Camera {
    async fn start(&self, camera: &str) -> Result<(), NoPicture> {
        self.state(camera).await?;
        self.state.starts.fetch_add(1, Ordering::SeqCst);
        if self.state.pipeline.lock().unwrap().is_none() {
            self.play();
        }
        Ok(())
    }

    async fn stop(&self, _: &str) {
        self.replace(None);
        self.state.stops.fetch_add(1, Ordering::SeqCst);
    }

    async fn state(&self, camera: &str) -> Result<String, NoPicture> {
        if camera != "front" || self.state.removed.load(Ordering::SeqCst) {
            return Err(NoPicture::NoCamera(camera.into()));
        }
        Ok("camera front is streaming".into())
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = tokio::time::timeout(PATIENCE, future).await;
    limit.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn live(folder: &tempfile::TempDir) -> (Camera, Live<Camera>) {
    let camera = Camera::new(folder.path());
    let done = CancellationToken::new();
    let live = Live::lingering(camera.clone(), folder.path(), done, LINGER);
    (camera, live)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_from_the_first_viewer_until_some_time_after_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let (camera, live) = live(&folder);
    assert_eq!(camera.counts(), (0, 0), "nobody looks");
    let mut one = live.look("front").unwrap();
    let picture = within("a picture", one.fresh(PATIENCE)).await.unwrap();
    assert!(picture.jpeg.starts_with(&[0xff, 0xd8]) && picture.jpeg.ends_with(&[0xff, 0xd9]));
    let mut other = live.look("front").unwrap();
    within("the other's picture", other.next()).await.unwrap();
    assert_eq!(live.viewers()["front"], 2);
    drop(one);
    within("the next picture", other.next()).await.unwrap();
    drop(other);
    // Somebody who comes back soon enough finds it running.
    let mut again = live.look("front").unwrap();
    within("a picture", again.next()).await.unwrap();
    assert_eq!(camera.counts(), (1, 0));
    drop(again);
    eventually("it is stopped", || camera.counts() == (1, 1)).await;
    eventually("nothing is left of it", || live.viewers().is_empty()).await;
    // And starts again, without showing what was.
    let mut later = live.look("front").unwrap();
    let fresh = within("a new picture", later.fresh(PATIENCE))
        .await
        .unwrap();
    assert!(fresh.time > picture.time);
    assert_eq!(camera.counts().0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_picture_holds_up_neither_the_others_nor_the_ring() {
    let folder = tempfile::tempdir().unwrap();
    let (camera, live) = live(&folder);
    let mut stalled = live.look("front").unwrap();
    let held = within("a picture", stalled.fresh(PATIENCE)).await.unwrap();
    let mut awake = live.look("front").unwrap();
    let before = camera.ring("frames");
    for _ in 0..60 {
        within("pictures for who looks", awake.next())
            .await
            .unwrap();
    }
    assert!(camera.ring("frames") >= before + 60);
    assert_eq!(camera.ring("dropped-no-slot"), 0, "the ring was never full");
    // It finds the newest, and nothing in between was kept for it.
    let next = within("the newest", stalled.next()).await.unwrap();
    assert!(next.time > held.time);
    assert!(next.time.elapsed().unwrap() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_stay_while_the_camera_is_away_and_go_when_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (camera, live) = live(&folder);
    let mut viewer = live.look("front").unwrap();
    within("a picture", viewer.fresh(PATIENCE)).await.unwrap();
    // Its worker is replaced by one that knows nothing of viewers: the task is asked for again.
    camera.replace(None);
    let gone = SystemTime::now();
    let back = within("pictures of the new worker", async {
        loop {
            let picture = viewer.next().await?;
            if picture.time > gone + Duration::from_secs(1) {
                return Ok::<_, NoPicture>(picture);
            }
        }
    });
    back.await.unwrap();
    assert!(camera.counts().0 >= 2, "{:?}", camera.counts());

    camera.state.removed.store(true, Ordering::SeqCst);
    camera.replace(None);
    let end = within("the end", async {
        loop {
            if let Err(why) = viewer.next().await {
                return why;
            }
        }
    });
    assert_eq!(end.await, NoPicture::NoCamera("front".into()));
    let mut late = live.look("front").unwrap();
    let why = within("an answer", late.fresh(PATIENCE)).await.unwrap_err();
    assert_eq!(why, NoPicture::NoCamera("front".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_look_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (_camera, live) = live(&folder);
    let mut viewers: Vec<_> = (0..MAX_VIEWERS)
        .map(|_| live.look("front").unwrap())
        .collect();
    let refused = live.look("front").unwrap_err();
    assert!(refused.to_string().contains("16 viewers"), "{refused}");
    viewers.pop();
    live.look("front").unwrap();
}
