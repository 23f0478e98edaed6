//! `libcameraprovider`: lists the cameras, as libcamera's does, by nothing but their ids.

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::camera::cameras;
use crate::source::{Role, offered};

glib::wrapper! {
    /// Lists the cameras of the script.
    pub struct LibcameraProvider(ObjectSubclass<imp::Provider>) @extends gst::DeviceProvider, gst::Object;
}

glib::wrapper! {
    /// One camera of the script.
    pub struct LibcameraDevice(ObjectSubclass<imp::Device>) @extends gst::Device, gst::Object;
}

mod imp {
    use super::*;
    use gst::subclass::prelude::DeviceProviderImpl;

    #[derive(Default)]
    pub struct Provider;

    #[glib::object_subclass]
    impl ObjectSubclass for Provider {
        const NAME: &'static str = "GstLibcameraTestProvider";
        type Type = super::LibcameraProvider;
        type ParentType = gst::DeviceProvider;
    }

    impl ObjectImpl for Provider {}
    impl GstObjectImpl for Provider {}
    impl DeviceProviderImpl for Provider {
        fn metadata() -> Option<&'static gst::subclass::DeviceProviderMetadata> {
            static METADATA: std::sync::LazyLock<gst::subclass::DeviceProviderMetadata> =
                std::sync::LazyLock::new(|| {
                    gst::subclass::DeviceProviderMetadata::new(
                        "libcamera Device Provider (test)",
                        "Source/Video",
                        "Lists cameras that are not there",
                        env!("CARGO_PKG_NAME"),
                    )
                });
            Some(&METADATA)
        }

        fn probe(&self) -> Vec<gst::Device> {
            cameras()
                .into_iter()
                .map(|camera| {
                    glib::Object::builder::<super::LibcameraDevice>()
                        .property("display-name", &camera.id)
                        .property("device-class", "Source/Video")
                        .property("caps", offered(&camera, Role::VideoRecording))
                        .build()
                        .upcast()
                })
                .collect()
        }
    }

    #[derive(Default)]
    pub struct Device;

    #[glib::object_subclass]
    impl ObjectSubclass for Device {
        const NAME: &'static str = "GstLibcameraTestDevice";
        type Type = super::LibcameraDevice;
        type ParentType = gst::Device;
    }

    impl ObjectImpl for Device {}
    impl GstObjectImpl for Device {}
    impl DeviceImpl for Device {
        fn create_element(&self, name: Option<&str>) -> Result<gst::Element, gst::LoggableError> {
            let mut element = gst::ElementFactory::make("libcamerasrc");
            if let Some(name) = name {
                element = element.name(name);
            }
            let element = element
                .build()
                .map_err(|error| gst::loggable_error!(gst::CAT_RUST, "{error}"))?;
            element.set_property("camera-name", self.obj().display_name());
            Ok(element)
        }
    }
}
