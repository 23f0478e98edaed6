//! A pad with its `stream-role`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI32, Ordering};

use gst::glib;
use gst::glib::translate::IntoGlib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::script::Script;

/// The roles before 0.7.0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstLibcameraTestStreamRoleOld")]
pub enum OldRole {
    StillCapture = 1,
    #[default]
    VideoRecording = 2,
    #[enum_value(nick = "view-finder")]
    Viewfinder = 3,
}

/// The roles since then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstLibcameraTestStreamRole")]
pub enum Role {
    Raw = 0,
    StillCapture = 1,
    #[default]
    VideoRecording = 2,
    #[enum_value(nick = "view-finder")]
    Viewfinder = 3,
}

glib::wrapper! {
    /// A pad with its role.
    pub struct LibcameraPad(ObjectSubclass<imp::Pad>) @extends gst::Pad, gst::Object;
}

impl LibcameraPad {
    /// The role of its stream.
    pub fn role(&self) -> Role {
        match self.imp().role.load(Ordering::Relaxed) {
            0 => Role::Raw,
            1 => Role::StillCapture,
            3 => Role::Viewfinder,
            _ => Role::VideoRecording,
        }
    }
}

mod imp {
    use super::*;
    use gst::subclass::prelude::PadImpl;

    pub struct Pad {
        pub role: AtomicI32,
    }

    impl Default for Pad {
        fn default() -> Self {
            Self {
                role: AtomicI32::new(Role::default().into_glib()),
            }
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Pad {
        const NAME: &'static str = "GstLibcameraTestPad";
        type Type = super::LibcameraPad;
        type ParentType = gst::Pad;
    }

    fn with_raw() -> bool {
        Script::get().since(0, 7, 0)
    }

    impl ObjectImpl for Pad {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
                let spec = if with_raw() {
                    glib::ParamSpecEnum::builder::<Role>("stream-role")
                        .mutable_ready()
                        .build()
                } else {
                    glib::ParamSpecEnum::builder::<OldRole>("stream-role")
                        .mutable_ready()
                        .build()
                };
                vec![spec]
            });
            &PROPERTIES
        }

        fn set_property(&self, _: usize, value: &glib::Value, _: &glib::ParamSpec) {
            let role = if with_raw() {
                value.get::<Role>().map(IntoGlib::into_glib)
            } else {
                value.get::<OldRole>().map(IntoGlib::into_glib)
            };
            self.role
                .store(role.expect("checked by its type"), Ordering::Relaxed);
        }

        fn property(&self, _: usize, _: &glib::ParamSpec) -> glib::Value {
            let role = self.obj().role();
            if with_raw() {
                return role.to_value();
            }
            match role {
                Role::StillCapture => OldRole::StillCapture,
                Role::Viewfinder => OldRole::Viewfinder,
                Role::Raw | Role::VideoRecording => OldRole::VideoRecording,
            }
            .to_value()
        }
    }

    impl GstObjectImpl for Pad {}
    impl PadImpl for Pad {}
}
