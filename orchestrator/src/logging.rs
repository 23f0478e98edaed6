//! Where log lines go: standard error, above the live table where there is one.

use crate::table::Screen;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The environment variable that says what is logged, in the form of `tracing`'s filters (`debug`, `watchpost=trace`).
const FILTER: &str = "WATCHPOST_LOG";

/// Starts logging.
pub fn start(screen: Option<Arc<Screen>>) {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(Writer(screen))
        .init();
}

struct Writer(Option<Arc<Screen>>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self.0.as_deref())
    }
}

struct Line<'a>(Option<&'a Screen>);

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        match self.0 {
            Some(screen) => screen.log(text),
            // A closed standard error must not end the program.
            None => drop(std::io::stderr().write_all(text)),
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
