//! The audit log: sign-ins, changes and downloads with user and address, in files of bounded size. Failed sign-ins have files
//! of their own, so that guessing does not push out the rest.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tokio::task::spawn_blocking;
use watchpost_api::{AuditEntry, AuditQuery};

use super::Api;
use super::error::ApiError;
use super::query::QueryOf;

/// Entries older than this are not shown, and go with their file.
const MAX_AGE: f64 = 90.0 * 86_400.0;
/// A file above this is put aside.
const MAX_FILE: u64 = 4 << 20;
/// Files that are put aside, of each kind.
const FORMER: u32 = 7;
/// Bytes of a text that comes from the client.
const MAX_TEXT: usize = 256;
/// Entries in one answer.
const MAX_PAGE: usize = 1000;

/// The log. Clones write to the same files; without a folder nothing is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Audit(Option<Arc<Journals>>);

#[derive(Debug)]
struct Journals {
    done: Mutex<Journal>,
    failed: Mutex<Journal>,
}

/// Files of one kind, the newest first: `NAME`, `NAME.1` and so on.
#[derive(Debug)]
struct Journal {
    path: PathBuf,
    max_file: u64,
    /// The disk refused the last entry; reported once.
    is_failing: bool,
}

/// An action that is under way. If its request is dropped, because the client left, it is written down without a result.
pub(super) struct Pending {
    audit: Audit,
    entry: Option<AuditEntry>,
}

impl Audit {
    /// A log in this folder.
    pub(super) fn new(folder: &Path) -> Self {
        let journal = |name: &str| {
            Mutex::new(Journal {
                path: folder.join(name),
                max_file: MAX_FILE,
                is_failing: false,
            })
        };
        Self(Some(Arc::new(Journals {
            done: journal("audit.jsonl"),
            failed: journal("audit-failed.jsonl"),
        })))
    }

    /// An action begins.
    pub(super) fn begin(
        &self,
        user: &str,
        address: IpAddr,
        action: String,
        path: &str,
        camera: Option<String>,
    ) -> Pending {
        let entry = AuditEntry {
            time: now(),
            user: user.to_owned(),
            address: address.to_string(),
            action,
            path: shortened(path),
            camera,
            status: None,
        };
        Pending {
            audit: self.clone(),
            entry: Some(entry),
        }
    }

    /// A sign-in with a password succeeded or failed; of failures the throttle picks those that are written down.
    pub(super) async fn sign_in(&self, user: &str, address: IpAddr, status: StatusCode) {
        let user = shortened(user);
        let pending = self.begin(&user, address, "sign-in".into(), "", None);
        pending.end(status).await;
    }

    /// At most `limit` entries before a time, the newest first.
    fn entries(&self, before: f64, limit: usize) -> io::Result<Vec<AuditEntry>> {
        let Some(journals) = &self.0 else {
            return Ok(Vec::new());
        };
        let mut entries = lock(&journals.done).newest(before, limit)?;
        entries.extend(lock(&journals.failed).newest(before, limit)?);
        entries.sort_by(|a, b| b.time.total_cmp(&a.time));
        entries.truncate(limit);
        Ok(entries)
    }

    fn write(&self, entry: &AuditEntry) {
        let Some(journals) = &self.0 else { return };
        let failed = entry.status == Some(StatusCode::UNAUTHORIZED.as_u16());
        let journal = if failed {
            &journals.failed
        } else {
            &journals.done
        };
        lock(journal).write(entry);
    }
}

impl Pending {
    /// The action ended; it is written down when this returns.
    pub(super) async fn end(mut self, status: StatusCode) {
        let audit = self.audit.clone();
        let Some(mut entry) = self.entry.take() else {
            return;
        };
        entry.status = Some(status.as_u16());
        // It goes on if this future is dropped.
        let _ = spawn_blocking(move || audit.write(&entry)).await;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let audit = self.audit.clone();
        if let Some(entry) = self.entry.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || audit.write(&entry));
        }
    }
}

impl Journal {
    fn write(&mut self, entry: &AuditEntry) {
        match self.append(entry) {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::error!(
                    "audit log {}: {error}; entries are lost",
                    self.path.display()
                );
            }
            Err(_) => {}
        }
    }

    fn append(&self, entry: &AuditEntry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if self
            .path
            .metadata()
            .is_ok_and(|file| file.len() >= self.max_file)
        {
            self.put_aside()?;
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        file.write_all(&line)
    }

    fn put_aside(&self) -> io::Result<()> {
        let oldest = now() - MAX_AGE;
        for number in (0..=FORMER).rev() {
            let file = self.file(number);
            let is_old = file
                .metadata()
                .and_then(|f| f.modified())
                .is_ok_and(|t| seconds(t) < oldest);
            let result = if number == FORMER || is_old {
                std::fs::remove_file(&file)
            } else {
                std::fs::rename(&file, self.file(number + 1))
            };
            match result {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name.into()
    }

    fn newest(&self, before: f64, limit: usize) -> io::Result<Vec<AuditEntry>> {
        let (mut entries, oldest) = (Vec::new(), now() - MAX_AGE);
        for number in 0..=FORMER {
            let file = match File::open(self.file(number)) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut of_file = Vec::new();
            for line in BufReader::new(file).split(b'\n') {
                // A line may have been cut off by a full disk.
                let entry = serde_json::from_slice::<AuditEntry>(&line?);
                of_file.extend(entry.ok().filter(|e| e.time < before && e.time >= oldest));
            }
            entries.extend(of_file.into_iter().rev());
            if entries.len() >= limit {
                break;
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }
}

/// `GET /api/audit`: the newest entries first.
pub(super) async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<AuditQuery>,
) -> Result<Json<Vec<AuditEntry>>, ApiError> {
    let before = query.before.unwrap_or(f64::INFINITY);
    let limit = query.limit.unwrap_or(100).clamp(1, MAX_PAGE);
    let audit = api.audit.clone();
    let entries = spawn_blocking(move || audit.entries(before, limit)).await;
    match entries {
        Ok(Ok(entries)) => Ok(Json(entries)),
        Ok(Err(error)) => Err(ApiError::Media(format!("audit log: {error}"))),
        Err(_) => Err(ApiError::NoStore),
    }
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

fn now() -> f64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[tokio::test]
    async fn entries_come_newest_first_and_failures_apart() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::new(folder.path());
        audit.sign_in("anna", HERE, StatusCode::OK).await;
        audit.sign_in("eve", HERE, StatusCode::UNAUTHORIZED).await;
        let path = "/api/cameras/a?".to_owned() + &"x".repeat(1000);
        let pending = audit.begin(
            "anna",
            HERE,
            "PATCH /api/cameras/{name}".into(),
            &path,
            Some("a".into()),
        );
        pending.end(StatusCode::OK).await;
        let entries = audit.entries(f64::INFINITY, 100).unwrap();
        let users: Vec<_> = entries
            .iter()
            .map(|e| (e.user.as_str(), e.status))
            .collect();
        assert_eq!(
            users,
            [("anna", Some(200)), ("eve", Some(401)), ("anna", Some(200))]
        );
        assert_eq!(entries[0].address, "10.0.0.1");
        assert_eq!(entries[0].path.len(), MAX_TEXT);
        assert_eq!(audit.entries(entries[0].time, 1).unwrap()[0].user, "eve");
        let failed = std::fs::read_to_string(folder.path().join("audit-failed.jsonl")).unwrap();
        assert!(
            failed.contains("eve") && !failed.contains("anna"),
            "{failed}"
        );
    }

    #[tokio::test]
    async fn an_action_whose_client_left_is_written_without_a_result() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::new(folder.path());
        drop(audit.begin("anna", HERE, "POST /api/config".into(), "/api/config", None));
        let written = async {
            while audit.entries(f64::INFINITY, 1).unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), written)
            .await
            .unwrap();
        assert_eq!(audit.entries(f64::INFINITY, 1).unwrap()[0].status, None);
    }

    #[test]
    fn the_files_are_bounded_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut journal = Journal {
            path,
            max_file: 1000,
            is_failing: false,
        };
        for number in 0..1000 {
            journal.write(&AuditEntry {
                time: now(),
                user: number.to_string(),
                address: HERE.to_string(),
                action: "sign-in".into(),
                path: String::new(),
                camera: None,
                status: Some(200),
            });
        }
        let files: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|f| f.unwrap())
            .collect();
        assert_eq!(files.len(), 1 + FORMER as usize);
        for file in files {
            let file = file.metadata().unwrap();
            assert!(file.len() < 1200, "{}", file.len());
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }
        let newest = journal.newest(f64::INFINITY, 20).unwrap();
        let users: Vec<_> = newest
            .iter()
            .map(|e| e.user.parse::<u32>().unwrap())
            .collect();
        assert_eq!(users, (980..1000).rev().collect::<Vec<_>>());
    }
}
