//! RTSP cameras, served by gst-rtsp-server from within the test on a free port of 127.0.0.1.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{
    RTSP_PERM_MEDIA_FACTORY_ACCESS, RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, RTSPAuth, RTSPMediaFactory,
    RTSPServer, RTSPToken,
};

/// Role of clients that need no credentials.
const EVERYBODY: &str = "everybody";

/// A camera to be: which streams it has, and who may see them.
#[derive(Debug, Default)]
pub struct Builder {
    streams: Vec<(String, String)>,
    credentials: Option<(String, String)>,
    certificate: Option<String>,
}

impl Builder {
    /// Adds a stream: a launch line with payloaders `pay0`, `pay1`, ..., built for each client.
    pub fn stream(mut self, path: &str, launch: &str) -> Self {
        self.streams.push((path.into(), launch.into()));
        self
    }

    /// Adds a stream that plays an MP4 file with H.264 to each client from the file's start.
    pub fn file(self, path: &str, file: &Path) -> Self {
        let launch = format!(
            "( filesrc location=\"{}\" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )",
            file.display()
        );
        self.stream(path, &launch)
    }

    /// Asks every client for this user and password.
    pub fn credentials(mut self, user: &str, password: &str) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Serves `rtsps` with this certificate and key (PEM).
    pub fn certificate(mut self, pem: &str) -> Self {
        self.certificate = Some(pem.into());
        self
    }

    /// Starts to serve.
    pub fn start(self) -> Camera {
        gst::init().expect("GStreamer starts");
        let context = glib::MainContext::new();
        let server_loop = glib::MainLoop::new(Some(&context), false);
        let server = RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service("0");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        server.connect_client_connected(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        if let Some((user, password)) = &self.credentials {
            let auth = RTSPAuth::new();
            let token = RTSPToken::builder()
                .field("media.factory.role", user)
                .build();
            auth.add_basic(RTSPAuth::make_basic(user, password).as_str(), &token);
            server.set_auth(Some(&auth));
        }
        if let Some(pem) = &self.certificate {
            let auth = server.auth().unwrap_or_default();
            let certificate =
                gio::TlsCertificate::from_pem(pem).expect("a certificate and its key");
            auth.set_tls_certificate(Some(&certificate));
            let mut everybody = RTSPToken::builder()
                .field("media.factory.role", EVERYBODY)
                .build();
            auth.set_default_token(Some(&mut everybody));
            server.set_auth(Some(&auth));
        }
        let mounts = server.mount_points().expect("a server has mount points");
        for (path, launch) in &self.streams {
            let factory = RTSPMediaFactory::new();
            factory.set_launch(launch);
            let role = match &self.credentials {
                Some((user, _)) => Some(user.as_str()),
                None => self.certificate.is_some().then_some(EVERYBODY),
            };
            if let Some(role) = role {
                let permissions = gst::Structure::builder(role)
                    .field(RTSP_PERM_MEDIA_FACTORY_ACCESS.as_str(), true)
                    .field(RTSP_PERM_MEDIA_FACTORY_CONSTRUCT.as_str(), true)
                    .build();
                factory.add_role_from_structure(&permissions);
            }
            mounts.add_factory(path, factory);
        }
        let source = server.attach(Some(&context)).expect("attach the server");
        let port = server.bound_port();
        let runs = server_loop.clone();
        std::thread::spawn(move || {
            let _kept = (server, source);
            context
                .with_thread_default(|| runs.run())
                .expect("a context of its own");
        });
        Camera {
            scheme: if self.certificate.is_some() {
                "rtsps"
            } else {
                "rtsp"
            },
            port,
            server_loop,
            connections,
        }
    }
}

/// An RTSP server that ends when it is dropped.
#[derive(Debug)]
pub struct Camera {
    scheme: &'static str,
    port: i32,
    server_loop: glib::MainLoop,
    connections: Arc<AtomicUsize>,
}

impl Camera {
    /// A camera without streams so far.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The address of a stream.
    pub fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    /// The address of a stream with a user and a password in it.
    pub fn url_with(&self, user: &str, password: &str, path: &str) -> String {
        format!("rtsp://{user}:{password}@127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.server_loop.quit();
    }
}
