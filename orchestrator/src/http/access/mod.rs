//! Access: identities, actions, and the one function that decides.

mod door;
mod passwords;
mod places;
mod session;
mod throttle;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::error::ApiError;
use crate::config::{Role, Scope};

pub(super) use door::{Door, check, sign_in};
pub(super) use passwords::{Hasher, Rejected, same};
pub(super) use places::{NoPlace, Place, Places};
pub(super) use session::{End, Session};
pub(super) use throttle::Throttle;

/// The kinds of things that are done over HTTP. Every route names one when it is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask whether the program answers; needs no credentials.
    Probe,
    /// See cameras, events, media and pictures.
    Look,
    /// Use cameras: tasks, moves, switches.
    Operate,
    /// Change the configuration of a camera, delete what it made.
    Edit,
    /// Change the whole configuration, read the audit log.
    Configure,
    /// Read metrics and the configuration.
    Monitor,
}

/// Why something may not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// There are no credentials.
    Unknown,
    /// The camera is none of those that may be seen: it does not exist for this identity.
    NotSeen(String),
    /// The role is too low.
    Role { has: Role, needs: Role },
    /// The token is for another purpose.
    Scope,
    /// It concerns all cameras, and these credentials are for some of them.
    Limited,
}

/// The sender of a request, as its credentials name it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// In messages.
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    /// The only cameras that exist for it; without it all.
    pub(super) cameras: Option<Arc<BTreeSet<String>>>,
    pub(super) scope: Option<Scope>,
    pub(super) proof: Proof,
}

/// The configured credentials that an identity came from: when they change, it ends.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// None are configured.
    Open,
    Token(Arc<str>),
    /// The hash of the password of the user of this name.
    Password(Arc<str>),
}

impl Identity {
    /// Whether a camera exists for it.
    pub(super) fn sees(&self, camera: &str) -> bool {
        self.cameras
            .as_ref()
            .is_none_or(|cameras| cameras.contains(camera))
    }

    /// The cameras it is limited to.
    pub(super) fn limit(&self) -> Option<Vec<String>> {
        let cameras = self.cameras.as_ref()?;
        Some(cameras.iter().cloned().collect())
    }
}

/// Decides whether an identity may do something; with a camera, whether it may do it there. Without one, `Look`, `Operate` and
/// `Edit` are about lists and items, of which the handler leaves out what is not seen.
pub(super) fn may(
    identity: Option<&Identity>,
    action: Action,
    camera: Option<&str>,
) -> Result<(), Denied> {
    if action == Action::Probe {
        return Ok(());
    }
    let identity = identity.ok_or(Denied::Unknown)?;
    match identity.scope {
        None => {}
        Some(Scope::Metrics) if action == Action::Monitor => return Ok(()),
        Some(Scope::Metrics) => return Err(Denied::Scope),
    }
    // As in version 0.1.0, which had no other token for a metrics collector.
    let reads_all = identity.role == Role::ReadOnly && identity.cameras.is_none();
    if action == Action::Monitor && reads_all {
        return Ok(());
    }
    if let Some(camera) = camera.filter(|camera| !identity.sees(camera)) {
        return Err(Denied::NotSeen(camera.to_owned()));
    }
    let needs = match action {
        Action::Probe | Action::Look => Role::Viewer,
        Action::Operate => Role::Operator,
        Action::Edit | Action::Configure | Action::Monitor => Role::Admin,
    };
    if identity.role < needs {
        let has = identity.role;
        return Err(Denied::Role { has, needs });
    }
    if action == Action::Configure && identity.cameras.is_some() {
        return Err(Denied::Limited);
    }
    Ok(())
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let identity = parts.extensions.get::<Self>().cloned();
        identity.ok_or(ApiError::Denied(Denied::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(role: Role, cameras: Option<&[&str]>) -> Identity {
        Identity {
            name: "anna".into(),
            role,
            cameras: cameras.map(|c| Arc::new(c.iter().map(ToString::to_string).collect())),
            scope: None,
            proof: Proof::Open,
        }
    }

    #[test]
    fn roles_include_those_below() {
        use Action::*;
        let all = [Look, Operate, Edit, Configure, Monitor];
        for (role, allowed) in [(Role::Viewer, 1), (Role::Operator, 2), (Role::Admin, 5)] {
            let identity = identity(role, None);
            for (index, action) in all.into_iter().enumerate() {
                let answer = may(Some(&identity), action, None);
                assert_eq!(answer.is_ok(), index < allowed, "{role:?} {action:?}");
            }
        }
        for action in all {
            assert_eq!(may(None, action, Some("a")), Err(Denied::Unknown));
        }
        assert_eq!(may(None, Probe, None), Ok(()));
    }

    #[test]
    fn a_read_only_token_of_version_0_1_0_reads_what_it_read() {
        let old = identity(Role::ReadOnly, None);
        assert_eq!(may(Some(&old), Action::Look, None), Ok(()));
        assert_eq!(may(Some(&old), Action::Monitor, None), Ok(()));
        assert!(may(Some(&old), Action::Operate, None).is_err());
        let limited = identity(Role::ReadOnly, Some(&["a"]));
        assert!(may(Some(&limited), Action::Monitor, None).is_err());
        assert_eq!(may(Some(&limited), Action::Look, Some("a")), Ok(()));
    }

    #[test]
    fn other_cameras_do_not_exist() {
        let viewer = identity(Role::Viewer, Some(&["a"]));
        assert_eq!(may(Some(&viewer), Action::Look, Some("a")), Ok(()));
        let hidden = Err(Denied::NotSeen("b".into()));
        // Before the role: the answer does not depend on what there is.
        for action in [Action::Look, Action::Operate, Action::Edit] {
            assert_eq!(may(Some(&viewer), action, Some("b")), hidden);
        }
        let admin = identity(Role::Admin, Some(&["a"]));
        assert_eq!(may(Some(&admin), Action::Edit, Some("a")), Ok(()));
        assert_eq!(may(Some(&admin), Action::Edit, Some("b")), hidden);
        let whole = may(Some(&admin), Action::Configure, None);
        assert_eq!(whole, Err(Denied::Limited));
    }

    #[test]
    fn a_token_for_metrics_reads_metrics_only() {
        for role in [Role::Viewer, Role::Admin] {
            let mut token = identity(role, None);
            token.scope = Some(Scope::Metrics);
            assert_eq!(may(Some(&token), Action::Monitor, None), Ok(()));
            assert_eq!(may(Some(&token), Action::Look, None), Err(Denied::Scope));
        }
    }
}
