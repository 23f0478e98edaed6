//! Outputs: what other programs receive of the events. Each subscribes to the bus and holds up nothing.

mod hooks;
mod mqtt;
mod tls;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::config::Config;
use crate::live::Live;
use crate::reload::Changes;
use crate::supervisor::Handle;

/// Where outputs get what they publish, and where commands go.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Events.
    pub bus: Bus,
    /// Figures.
    pub supervisor: Handle,
    /// Changes of the configuration.
    pub changes: Changes,
    /// Pictures.
    pub live: Live,
}

/// Figures of the outputs for metrics. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    pub(crate) mqtt: Arc<mqtt::Numbers>,
    pub(crate) hooks: Arc<hooks::Numbers>,
}

/// Starts the outputs. Their task ends some time after `done`, when the farewells are said.
pub fn start(
    sources: Sources,
    config: watch::Receiver<Arc<Config>>,
    numbers: &Numbers,
    done: CancellationToken,
) -> JoinHandle<()> {
    let hooks = hooks::run(
        sources.clone(),
        config.clone(),
        numbers.hooks.clone(),
        done.clone(),
    );
    let mqtt = mqtt::run(sources, config, numbers.mqtt.clone(), done);
    tokio::spawn(async {
        tokio::join!(hooks, mqtt);
    })
}
