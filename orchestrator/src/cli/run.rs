//! `watchpost run -c FILE`: everything.

use crate::table::{self, Screen};
use anyhow::{Context, Result, bail};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use watchpost::bus::Bus;
use watchpost::live::Live;
use watchpost::media::Media;
use watchpost::outputs;
use watchpost::recordings::Recordings;
use watchpost::reload::ConfigManager;
use watchpost::run_dir::{self, RunDir};
use watchpost::store::{self, Store};
use watchpost::supervisor::{Command, Handle, Supervisor};
use watchpost::systemd::Systemd;
use watchpost::{config, data_dir, http, limits};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The log goes to standard error; WATCHPOST_LOG=debug says more, WATCHPOST_LOG=warn less (info where it is not set)."
)]
pub struct Args {
    /// The configuration file.
    #[arg(short, long)]
    config: PathBuf,
    /// End with an error where otherwise a wrong camera would be left out or a port in use be waited for.
    #[arg(long)]
    strict: bool,
    /// No live table, although this is a terminal.
    #[arg(long)]
    no_table: bool,
}

/// Runs until SIGTERM or Ctrl-C.
pub fn run(args: Args) -> Result<ExitCode> {
    let screen =
        (std::io::stdout().is_terminal() && !args.no_table).then(|| Arc::new(Screen::default()));
    crate::logging::start(screen.clone());
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in loaded.warnings.iter() {
        tracing::warn!("{warning}");
    }
    if args.strict && loaded.problems().next().is_some() {
        for problem in loaded.problems() {
            eprintln!("{problem}");
        }
        return Ok(ExitCode::FAILURE);
    }
    if loaded.is_http_wrong() {
        eprintln!("{}", loaded.general);
        bail!(
            "what is wrong with http could let in anybody, so nothing is started; `watchpost check` reads the file again"
        );
    }
    for problem in loaded.general.iter() {
        tracing::error!("{problem}");
    }
    limits::raise_open_files();
    let run_dir = RunDir::take(&run_dir::choose(loaded.config.run_dir.as_deref()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Supervision is waiting; two threads let HTTP answer while the table is worked on.
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(args, loaded, run_dir, screen));
    // A change that is still being computed does not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

async fn serve(
    args: Args,
    loaded: config::Loaded,
    run_dir: RunDir,
    screen: Option<Arc<Screen>>,
) -> Result<ExitCode> {
    let address = loaded.config.http.listen;
    if let Some(problem) = config::http_problem(&loaded.config.http) {
        bail!(problem);
    }
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            let text = format!("http.listen {address}: {error}");
            if args.strict {
                bail!(text);
            }
            tracing::error!("{text}; the cameras run without it, and it is tried again every 5 s");
            None
        }
    };
    let data_dir = data_dir::choose(loaded.config.data_dir.as_deref());
    let store = match Store::open(&data_dir) {
        Ok(store) => Some(Arc::new(store)),
        Err(error) if args.strict || matches!(error, store::Error::Held { .. }) => {
            return Err(error.into());
        }
        Err(error) => {
            tracing::error!("{error}; cameras run without region grids and events being kept");
            None
        }
    };
    let newest = store.as_ref().map(|store| store.newest().event);
    let bus = Bus::new(newest.unwrap_or_default());
    let done = CancellationToken::new();
    // Subscribed before anything is published.
    let recorded = store
        .as_ref()
        .map(|store| tokio::spawn(store.record_events(&bus, done.clone())));
    if let Some(store) = &store {
        store.keep_events(loaded.config.events.days);
        tokio::spawn(store.clone().retain_events(done.clone()));
    }
    let media = match &store {
        Some(store) => Some(
            Media::start(&data_dir, &loaded.config.media, store.clone(), bus.clone())
                .context("cannot start the thread that keeps media")?,
        ),
        None => None,
    };
    let kept = (store, media);
    let run_path = run_dir.path().to_owned();
    let first = config::Change::first(&loaded);
    // Beside the store, whose lock keeps a second Watchpost out.
    let recordings = kept.0.as_ref().and_then(|_| {
        Recordings::start(&data_dir)
            .inspect_err(|error| tracing::error!("recordings: {error}; nothing is recorded"))
            .ok()
    });
    let (mut supervisor, handle) = Supervisor::new(&first, run_dir, bus.clone(), kept.clone());
    if let Some(recordings) = &recordings {
        supervisor.record(recordings.clone(), &bus);
    }
    let live = Live::new(handle.clone(), &run_path, done.clone());
    let (http_sender, http_config) = watch::channel(loaded.config.http.clone());
    let (manager, changes) = ConfigManager::new(&args.config, loaded, handle.clone(), http_sender);
    let numbers = outputs::Numbers::default();
    let sources = outputs::Sources {
        bus: bus.clone(),
        supervisor: handle.clone(),
        changes: changes.clone(),
        live: live.clone(),
    };
    let at_work = manager.at_work();
    let outputs = outputs::start(sources, at_work.clone(), &numbers, done.clone());
    tokio::spawn(manager.run(done.clone()));
    let api = http::Api::new(
        handle.clone(),
        changes,
        bus,
        kept,
        (live, numbers),
        at_work,
        done.clone(),
    )
    .with_recordings(recordings);
    let http = tokio::spawn(http::serve(listener, http_config, api));
    let signals = tokio::spawn(pass_on_signals(handle.clone(), Systemd::from_env())?);
    let table = screen.map(|screen| tokio::spawn(table::keep_drawing(handle.clone(), screen)));
    let systemd = Systemd::from_env();
    systemd.ready();
    let alive = tokio::spawn(systemd.keep_alive(handle.clone()));
    // As a task: what workers report is then mostly taken by the thread that has just read it.
    let supervised = tokio::spawn(supervisor.run(first)).await;
    alive.abort();
    done.cancel();
    // Open connections get a moment to finish.
    let _ = tokio::time::timeout(Duration::from_millis(300), http).await;
    // A broker gets some seconds to take the farewell.
    let _ = tokio::time::timeout(Duration::from_secs(3), outputs).await;
    if let Some(recorded) = recorded {
        recorded.await.context("the recording of events")?;
    }
    signals.abort();
    if let Some(table) = table {
        table.abort();
    }
    supervised.context("the supervisor")?;
    Ok(ExitCode::SUCCESS)
}

/// The first SIGTERM or Ctrl-C stops in order, the second at once.
fn pass_on_signals(handle: Handle, systemd: Systemd) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    Ok(async move {
        let mut command = Command::Shutdown;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            systemd.stopping();
            if handle.tell(command).await.is_err() {
                return;
            }
            command = Command::Kill;
        }
    })
}
