//! The index against the folder: a store that was lost, files that were copied back or deleted by hand, and what a killed
//! worker left behind.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use watchpost_pipelines::tasks::MediaFile;
use watchpost_pipelines::tasks::file::{MediaFolder, MediaName, media_type};

use super::keeper::Problem;
use super::place::{Place, entries};
use crate::clock::seconds;
use crate::config::name_problem;
use crate::store::{self, Store};
use watchpost_api::{Media as MediaItem, MediaChange};

/// Publishes a change of the index.
pub type News<'a> = dyn Fn(MediaChange, MediaItem) + 'a;

/// What was brought into order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Files that were not in the index.
    pub added: usize,
    /// Files of the index that are not there.
    pub gone: usize,
    /// Recordings whose worker was killed.
    pub adopted: usize,
}

/// Name of the description that may lie beside a file.
pub fn description_of(name: &str) -> String {
    format!("{name}.json")
}

/// Looks through the folders of all cameras, those that are not configured any more included. Files that were
/// not known are published if `is_news`; recordings that were cut off always.
pub fn look_through(
    place: &Place,
    store: &Store,
    news: &News,
    is_news: bool,
    ending: &dyn Fn() -> bool,
) -> Result<Found, Problem> {
    let mut found = Found::default();
    let mut folders = store.media_folders()?;
    let on_disk = entries(place.root()).filter(|(_, is_folder)| *is_folder);
    folders.extend(on_disk.filter_map(|(name, _)| name.into_string().ok()));
    folders.retain(|folder| name_problem(folder).is_none());
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        if ending() {
            break;
        }
        one_folder(place, store, &folder, news, is_news, &mut found)?;
    }
    Ok(found)
}

fn one_folder(
    place: &Place,
    store: &Store,
    folder: &str,
    news: &News,
    is_news: bool,
    found: &mut Found,
) -> Result<(), Problem> {
    let known = store.media_of_folder(folder)?;
    // A renamed camera's files stay in its old folder: what else is there is most likely its own.
    let camera = known
        .iter()
        .max_by_key(|item| item.id)
        .map_or(folder, |item| item.camera.as_str())
        .to_owned();
    let mut known: BTreeMap<String, MediaItem> = known
        .into_iter()
        .map(|item| (item.name.clone(), item))
        .collect();

    let path = place.root().join(folder);
    let data_dir = place.root().parent().unwrap_or(place.root());
    // The folder itself must not be a link that leads elsewhere.
    if std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
        let (adopted, problems) = MediaFolder::new(data_dir, folder).adopt();
        for problem in problems {
            tracing::warn!(camera, "media: {problem}");
        }
        for file in adopted {
            found.adopted += 1;
            known.remove(&file.name);
            let (item, _) = add(place, store, &camera, folder, file)?;
            news(MediaChange::Added, item);
        }
        for file in files(place, folder) {
            if known.remove(&file.name).is_none() {
                found.added += 1;
                let (item, _) = add(place, store, &camera, folder, file)?;
                if is_news {
                    news(MediaChange::Added, item);
                }
            }
        }
    }
    found.gone += known.len();
    for item in known.values() {
        for name in item.thumbnail.iter().chain([&description_of(&item.name)]) {
            if let Err(error) = place.remove(folder, name) {
                tracing::warn!(camera, file = name, "media: cannot be removed: {error}");
            }
        }
    }
    store.remove_media(known.into_values().collect())?;
    Ok(())
}

/// Adds a file to the index, with its thumbnail if that is there. Also answers whether it is new.
pub fn add(
    place: &Place,
    store: &Store,
    camera: &str,
    folder: &str,
    mut file: MediaFile,
) -> store::Result<(MediaItem, bool)> {
    let thumbnail = file.thumbnail.take().and_then(|name| {
        let bytes = place.size(folder, &name).ok()?;
        Some((name, bytes))
    });
    let (thumbnail, bytes) = thumbnail.unzip();
    file.thumbnail = thumbnail;
    store.add_media(camera, folder, file, bytes.unwrap_or(0))
}

/// The files of a camera's folder whose names say what they are, oldest first.
fn files(place: &Place, folder: &str) -> Vec<MediaFile> {
    let mut files = Vec::new();
    let days = entries(&place.root().join(folder)).filter(|(_, is_folder)| *is_folder);
    let days = days.filter_map(|(day, _)| day.into_string().ok());
    for day in days.filter(|day| !day.starts_with('.')) {
        let path: PathBuf = [place.root().as_os_str(), folder.as_ref(), day.as_ref()]
            .iter()
            .collect();
        let names = entries(&path).filter(|(_, is_folder)| !is_folder);
        for name in names.filter_map(|(name, _)| name.into_string().ok()) {
            if let Ok(Some(file)) = of_name(place, folder, &day, &name) {
                files.push(file);
            }
        }
    }
    files.sort_by(|a, b| a.time.total_cmp(&b.time));
    files
}

/// What name and file system say of a file. `None`: it is none of ours, or belongs to another one.
fn of_name(place: &Place, folder: &str, day: &str, name: &str) -> io::Result<Option<MediaFile>> {
    let Some(parsed) = MediaName::parse(day, name) else {
        return Ok(None);
    };
    if name.starts_with('.') || parsed.extension == "json" {
        return Ok(None);
    }
    let name = format!("{day}/{name}");
    let bytes = place.size(folder, &name)?;
    let file = MediaFile {
        task: parsed.task,
        media_type: media_type(&parsed.extension).to_owned(),
        time: seconds(parsed.time),
        duration: None,
        bytes,
        width: 0,
        height: 0,
        thumbnail: Some(format!(".thumbnails/{name}.jpg")),
        series: parsed.series,
        camera_config: serde_json::Value::Null,
        name,
    };
    Ok(Some(file))
}
