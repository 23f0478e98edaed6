//! `watchpost media`: what cameras' tasks made, asked of a running watchpost.

use std::process::ExitCode;

use anyhow::{Context, Result};
use watchpost::config::Bytes;
use watchpost_api::{Media, MediaEntry, MediaQuery};
use watchpost_pipelines::tasks::Task;

use super::client::{self, Place};

/// Arguments of `media`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only of this camera.
    #[arg(long)]
    camera: Option<String>,
    /// Only made by this task: photo, raw_photo, series or video.
    #[arg(long)]
    task: Option<Task>,
    /// At most this many, newest first, up to 1000.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Asks, and prints the table.
pub fn run(args: &Args) -> Result<ExitCode> {
    let address = args.place.address()?;
    let query = MediaQuery {
        camera: args.camera.clone(),
        task: args.task,
        limit: Some(args.limit),
        ..MediaQuery::default()
    };
    let path = format!("/api/media?{}", client::query(&query)?);
    let body = client::get(address, &path, args.place.token())?;
    if args.json {
        println!("{}", body.trim());
        return Ok(ExitCode::SUCCESS);
    }
    let items: Vec<MediaEntry> = serde_json::from_str(&body)
        .with_context(|| format!("the answer of {address} is not a watchpost's"))?;
    println!("ID       CAMERA           TASK       SIZE       LENGTH   PICTURE    FILE");
    for item in &items {
        println!("{}", line(&item.media));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(item: &Media) -> String {
    let length = item
        .duration
        .map_or(String::new(), |seconds| format!("{seconds:.1} s"));
    let picture = item
        .width
        .zip(item.height)
        .map_or(String::new(), |(width, height)| format!("{width}x{height}"));
    format!(
        "{:<8} {:<16} {:<10} {:<10} {length:<8} {picture:<10} {}/{}",
        item.id,
        item.camera,
        item.task.as_str(),
        Bytes(item.size).to_string(),
        item.folder,
        item.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_the_file_is_and_where() {
        let item = Media {
            id: 7,
            camera: "front".into(),
            task: Task::Video,
            size: 3 << 19,
            duration: Some(12.04),
            width: Some(640),
            height: Some(360),
            folder: "front".into(),
            name: "2026-11-21/14-23-00.123-video.mp4".into(),
            media_type: "video/mp4".into(),
            time: 0.0,
            series: None,
            series_number: None,
            camera_config: serde_json::Value::Null,
            thumbnail: None,
            thumbnail_size: 0,
        };
        assert_eq!(
            line(&item),
            "7        front            video      1.5 MiB    12.0 s   640x360    front/2026-11-21/14-23-00.123-video.mp4"
        );
    }
}
