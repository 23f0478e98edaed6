//! The live table on a terminal: camera, state, rates, objects. Log lines go above it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use watchpost::clock::now;
use watchpost::supervisor::Handle;
use watchpost_api::{CameraState, CameraStatus, ObjectState, Status};

/// The part of the terminal the table stands in.
#[derive(Debug, Default)]
pub struct Screen {
    /// Lines drawn below the cursor's resting place, and the text they hold.
    drawn: Mutex<Vec<String>>,
}

impl Screen {
    /// Replaces the table.
    pub fn draw(&self, lines: Vec<String>) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = erase(drawn.len());
        for line in &lines {
            let _ = writeln!(text, "{line}");
        }
        *drawn = lines;
        show(&text);
    }

    /// A log line, above the table.
    pub fn log(&self, line: &[u8]) {
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        show(&erase(drawn.len()));
        let _ = std::io::stderr().write_all(line);
        let mut text = String::new();
        for line in drawn.iter() {
            let _ = writeln!(text, "{line}");
        }
        show(&text);
    }
}

/// Moves up over the old lines and clears from there to the end of the screen.
fn erase(lines: usize) -> String {
    if lines == 0 {
        String::new()
    } else {
        format!("\x1b[{lines}A\x1b[J")
    }
}

fn show(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Draws once a second until the supervisor is gone.
pub async fn keep_drawing(handle: Handle, screen: std::sync::Arc<Screen>) {
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        tick.tick().await;
        let Ok(status) = handle.status().await else {
            return;
        };
        screen.draw(render(&status, true));
    }
}

/// The table's lines.
pub fn render(status: &Status, colour: bool) -> Vec<String> {
    let width = status
        .cameras
        .iter()
        .map(|c| c.name.chars().count())
        .max()
        .unwrap_or(0)
        .clamp(6, 24);
    let mut lines = vec![format!(
        "{:width$}  {:12}  {:>6}  {:>8}  {:>6}  objects",
        "camera", "state", "fps", "analysed", "infer"
    )];
    for camera in &status.cameras {
        lines.push(row(camera, width, colour));
    }
    if status.cameras.is_empty() {
        lines.push("no cameras are configured".into());
    }
    lines
}

fn row(camera: &CameraStatus, width: usize, colour: bool) -> String {
    let name: String = camera.name.chars().take(width).collect();
    let name = plain(&name);
    let state = camera.state.name();
    let (on, off) = match (colour, camera.state) {
        (false, _) => ("", ""),
        (_, CameraState::Streaming) => ("\x1b[32m", "\x1b[0m"),
        (_, CameraState::Connecting | CameraState::Disabled | CameraState::Stopping) => {
            ("\x1b[90m", "\x1b[0m")
        }
        (_, CameraState::Stalled | CameraState::BackingOff) => ("\x1b[33m", "\x1b[0m"),
        (_, CameraState::AuthFailed | CameraState::Failed) => ("\x1b[31m", "\x1b[0m"),
    };
    let mut told = match &camera.reason {
        Some(reason) => reason.lines().next().unwrap_or_default().to_owned(),
        None => objects(camera),
    };
    for task in &camera.tasks {
        let gap = if told.is_empty() { "" } else { "; " };
        let _ = write!(
            told,
            "{gap}{} {} for {}",
            task.task,
            task.state,
            since(task.since)
        );
        if let Some(detail) = &task.detail {
            let _ = write!(told, " ({detail})");
        }
    }
    let mut told = plain(&told);
    if told.chars().count() > 100 {
        told = told.chars().take(99).chain(['…']).collect();
    }
    format!(
        "{name:width$}  {on}{state:12}{off}  {:6.1}  {:8.1}  {:6.1}  {told}",
        camera.camera_fps, camera.process_fps, camera.detection_fps
    )
}

/// A text of a camera or of the server as a terminal may have it: control characters, which move its cursor or worse, and those
/// that change the direction of writing stand there as `\\u{1b}`.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        if c.is_control() || turns {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// The same, line by line.
pub fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// How long ago a time was, in the largest unit that fits.
pub fn since(time: f64) -> String {
    let seconds = (now() - time).max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// "person #3, person #7 (rests)".
fn objects(camera: &CameraStatus) -> String {
    const SHOWN: usize = 6;
    let mut texts: Vec<String> = camera
        .objects
        .iter()
        .take(SHOWN)
        .map(|object| {
            let state = match object.state {
                ObjectState::Active => "",
                ObjectState::Stationary => " (rests)",
                ObjectState::Lost => " (lost)",
            };
            format!("{} #{}{state}", object.label, object.id)
        })
        .collect();
    if camera.objects.len() > SHOWN {
        texts.push(format!("{} more", camera.objects.len() - SHOWN));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_devices_do_not_command_the_terminal() {
        let evil = "454 \x1b[2J\x1b[31mEVIL\x07 \u{9b}2J \u{202e}live\u{2066}\u{200f}";
        assert_eq!(
            plain(evil),
            "454 \\u{1b}[2J\\u{1b}[31mEVIL\\u{7} \\u{9b}2J \\u{202e}live\\u{2066}\\u{200f}"
        );
        assert_eq!(plain("Türkamera #3 (rests) …"), "Türkamera #3 (rests) …");
        assert_eq!(plain_lines("a\n\x1bb\n"), "a\n\\u{1b}b\n");
    }
}
