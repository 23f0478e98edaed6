//! MQTT with a real broker (mosquitto) and an independent client (mosquitto_sub and mosquitto_pub).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Watchpost, eventually, onnxruntime, watchpost, write_config};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const JSON: &str = "Content-Type: application/json\r\n";
const SCENE: &str = "{test: {scene: \"walkers,objects=6\", width: 640, height: 360, fps: 5}}";

/// Whether the broker and its clients are installed; `make setup` does that.
fn mosquitto() -> bool {
    let found = |program: &str| {
        let mut command = Command::new(program);
        command
            .arg("--help")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok()
    };
    let all = ["mosquitto", "mosquitto_sub", "mosquitto_pub"]
        .into_iter()
        .all(found);
    if !all {
        eprintln!("SKIPPED: mosquitto is not here; `scripts/setup.sh test` installs it");
    }
    all
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A broker without persistence, killed when dropped.
struct Broker {
    child: Child,
}

impl Broker {
    /// Open to everybody on this machine.
    fn start(port: u16) -> Self {
        Self::start_with(port, &["-p", &port.to_string()])
    }

    fn start_with(port: u16, arguments: &[&str]) -> Self {
        let mut command = Command::new("mosquitto");
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let broker = Self {
            child: command.spawn().expect("start mosquitto"),
        };
        eventually("the broker listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        broker
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client has received.
#[derive(Default)]
struct Received {
    /// The last message of each topic that holds something.
    held: BTreeMap<String, String>,
    /// Every message: whether it was retained before this client came, topic, payload.
    all: Vec<(bool, String, String)>,
}

/// A client that has subscribed to everything.
struct Subscriber {
    child: Child,
    received: Arc<Mutex<Received>>,
}

impl Subscriber {
    fn new(port: u16) -> Self {
        Self::with(port, &[])
    }

    fn with(port: u16, more: &[&str]) -> Self {
        let mut child = Command::new("mosquitto_sub")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-t",
                "#",
                "-F",
                "%r %t %p",
            ])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start mosquitto_sub");
        let received = Arc::new(Mutex::new(Received::default()));
        let (lines, kept) = (child.stdout.take().expect("piped"), received.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let mut parts = line.splitn(3, ' ');
                let mut part = || parts.next().unwrap_or_default().to_owned();
                let (retained, topic, payload) = (part() == "1", part(), part());
                let mut received = kept.lock().expect("received");
                if payload.is_empty() {
                    received.held.remove(&topic);
                } else {
                    received.held.insert(topic.clone(), payload.clone());
                }
                received.all.push((retained, topic, payload));
            }
        });
        Self { child, received }
    }

    /// What a topic holds.
    fn get(&self, topic: &str) -> String {
        let received = self.received.lock().expect("received");
        received.held.get(topic).cloned().unwrap_or_default()
    }

    /// The topics that were retained when this client came and still hold something.
    fn retained(&self) -> BTreeMap<String, String> {
        let received = self.received.lock().expect("received");
        let retained = received.all.iter().filter(|(retained, ..)| *retained);
        let topics = retained.filter_map(|(_, topic, _)| {
            let (topic, payload) = received.held.get_key_value(topic)?;
            Some((topic.clone(), payload.clone()))
        });
        topics.collect()
    }

    /// The messages of a topic as JSON.
    fn messages(&self, topic: &str) -> Vec<Value> {
        let received = self.received.lock().expect("received");
        let of_topic = received.all.iter().filter(|(_, other, _)| other == topic);
        of_topic
            .map(|(.., payload)| serde_json::from_str(payload).expect("JSON"))
            .collect()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn publish(port: u16, topic: &str, payload: &str, retained: bool) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", topic]);
    match payload {
        "" => command.arg("-n"),
        payload => command.args(["-m", payload]),
    };
    if retained {
        command.arg("-r");
    }
    assert!(command.status().expect("mosquitto_pub").success());
}

/// The retained topics as a client sees them that comes now.
fn retained(port: u16) -> BTreeMap<String, String> {
    let subscriber = Subscriber::new(port);
    // Comes behind the retained messages, once the client has subscribed.
    eventually("everything has come", || {
        publish(port, "end/of/retained", "x", false);
        !subscriber.get("end/of/retained").is_empty()
    });
    subscriber.retained()
}

/// The states a camera's topics must hold by what the API says, counts apart.
fn by_the_api(watchpost: &Watchpost, camera: &str) -> BTreeMap<String, String> {
    let status = watchpost.camera(camera);
    let config = watchpost.get("/api/config");
    let config = &config["cameras"][camera];
    let on_off = |value: &Value| if value == &json!(false) { "OFF" } else { "ON" }.to_owned();
    let detects = status["state"] == "streaming" && config["detect"]["enabled"] != json!(false);
    let mut expected = BTreeMap::new();
    let mut expect = |topic: &str, value: String| {
        expected.insert(format!("watchpost/{camera}/{topic}"), value);
    };
    expect("enabled/state", on_off(&config["enabled"]));
    expect("detect/state", on_off(&config["detect"]["enabled"]));
    expect("motion/state", on_off(&config["motion"]["enabled"]));
    expect(
        "status/detect",
        if detects { "online" } else { "offline" }.to_owned(),
    );
    let open = watchpost.get(&format!("/api/events?camera={camera}&limit=1000"));
    let open = open.as_array().expect("events").iter();
    let count = open.filter(|event| event["end_time"].is_null()).count();
    expect("person", count.to_string());
    expect("all", count.to_string());
    expected.insert("watchpost/available".to_owned(), "online".to_owned());
    expected
}

#[test]
fn states_follow_the_api_also_after_the_broker_was_down_and_restarted() {
    if !mosquitto() || onnxruntime().is_none() {
        return;
    }
    let port = free_port();
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../pipelines/demo-model/demo.onnx"
    );
    let watchpost = Watchpost::start(&format!(
        "model: {{path: {model}}}\nmqtt: {{host: 127.0.0.1, port: {port}, stats_interval: 15}}\ncameras:\n  front:\n    source: {SCENE}\n    detect: {{width: 640, height: 360, fps: 5}}\n    zones: {{yard: {{coordinates: \"0,0,1,0,1,1,0,1\"}}}}\n"
    ));
    // The broker is down; the cameras work.
    watchpost.wait_streaming("front");
    eventually("the log says so", || {
        watchpost.log().contains("check `mqtt.host`")
    });

    let broker = Broker::start(port);
    let subscriber = Subscriber::new(port);
    eventually("it connects", || {
        subscriber.get("watchpost/available") == "online"
    });
    eventually("objects are published", || {
        let messages = subscriber.messages("watchpost/events");
        let kinds: Vec<_> = messages.iter().map(|m| m["type"].clone()).collect();
        ["new", "update", "end"]
            .iter()
            .all(|kind| kinds.contains(&json!(kind)))
    });
    for message in subscriber.messages("watchpost/events") {
        let after = &message["after"];
        assert_eq!(
            (&after["camera"], &after["label"]),
            (&json!("front"), &json!("person"))
        );
        let corners: Vec<u64> =
            serde_json::from_value(after["box"].clone()).expect("a box in pixels");
        assert!(
            corners[2] <= 640 && corners[3] <= 360 && corners[2] > corners[0],
            "{after}"
        );
        assert_eq!(
            after["end_time"].is_null(),
            message["type"] != "end",
            "{message}"
        );
    }
    eventually("figures come", || {
        !subscriber.messages("watchpost/stats").is_empty()
    });
    let stats = subscriber.messages("watchpost/stats").remove(0);
    assert!(
        stats["cameras"]["front"]["camera_fps"].is_number(),
        "{stats}"
    );
    let follows = || {
        let expected = by_the_api(&watchpost, "front");
        expected
            .iter()
            .all(|(topic, value)| subscriber.get(topic) == *value)
    };
    eventually("each topic is as the API says", follows);
    eventually("the zone is counted", || {
        subscriber
            .get("watchpost/yard/person")
            .parse::<u32>()
            .is_ok_and(|count| count > 0)
    });

    // A broker that has forgotten everything gets everything again.
    drop(subscriber);
    drop(broker);
    eventually("the end is noticed", || {
        watchpost.log().contains("the connection to 127.0.0.1")
    });
    let broker = Broker::start(port);
    let restarted = Instant::now();
    let subscriber = Subscriber::new(port);
    eventually("each topic is as the API says, again", || {
        let expected = by_the_api(&watchpost, "front");
        expected
            .iter()
            .all(|(topic, value)| subscriber.get(topic) == *value)
    });
    let elapsed = restarted.elapsed();
    eprintln!("all states after a restart of the broker: {elapsed:?}");
    // 2 s are the aim; a machine busy with other tests gets some more.
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    let metrics = watchpost.request("GET", "/metrics", "", "").1;
    assert!(metrics.contains("watchpost_mqtt_connected 1"), "{metrics}");
    assert!(
        metrics.contains("watchpost_mqtt_dropped_events_total"),
        "{metrics}"
    );

    // Every state is retained.
    let held = retained(port);
    for topic in by_the_api(&watchpost, "front").keys() {
        assert!(held.contains_key(topic), "{topic} is not retained");
    }
    drop(broker);
}

#[test]
fn commands_switch_and_retained_ones_do_not() {
    if !mosquitto() {
        return;
    }
    let port = free_port();
    let _broker = Broker::start(port);
    // Left by somebody, and it must not switch the camera off at each start.
    publish(port, "watchpost/front/enabled/set", "OFF", true);
    let watchpost = Watchpost::start(&format!(
        "mqtt: {{host: 127.0.0.1, port: {port}}}\ncameras:\n  front: {{source: {SCENE}}}\n"
    ));
    let subscriber = Subscriber::new(port);
    watchpost.wait_streaming("front");
    eventually("it is ignored", || {
        watchpost
            .log()
            .contains("the retained command on watchpost/front/enabled/set is ignored")
    });
    eventually("the camera is still on", || {
        subscriber.get("watchpost/front/enabled/state") == "ON"
    });

    let set = |name: &str, payload: &str| {
        publish(port, &format!("watchpost/front/{name}/set"), payload, false)
    };
    let state = |name: &str| subscriber.get(&format!("watchpost/front/{name}/state"));
    set("motion", "OFF");
    eventually("it is refused while detect is on", || {
        watchpost.log().contains("switch detect off first")
    });
    set("detect", "OFF");
    eventually("detect is off", || state("detect") == "OFF");
    eventually("the status says so", || {
        subscriber.get("watchpost/front/status/detect") == "disabled"
    });
    set("motion", "OFF");
    eventually("motion is off", || state("motion") == "OFF");
    set("detect", "ON");
    eventually("detect turns motion on too", || {
        state("detect") == "ON" && state("motion") == "ON"
    });
    set("motion_threshold", "44");
    eventually("the threshold is set", || state("motion_threshold") == "44");
    set("recordings", "ON");
    eventually("what cannot be done is refused", || {
        watchpost.log().contains("`recordings` cannot be set")
    });
    set("enabled", "OFF");
    watchpost.wait_for("front", "is off", |camera| {
        camera["enabled"] == json!(false)
    });
    eventually("the state says so", || state("enabled") == "OFF");

    // Commands outlive a restart.
    let text = std::fs::read_to_string(watchpost.config_file()).expect("the file");
    assert!(text.contains("44"), "{text}");
    let watchpost = watchpost.start_again();
    assert_eq!(watchpost.camera("front")["enabled"], json!(false));
}

#[test]
fn the_broker_says_when_it_is_gone() {
    if !mosquitto() {
        return;
    }
    let port = free_port();
    let _broker = Broker::start(port);
    let subscriber = Subscriber::new(port);
    let rest = format!("mqtt: {{host: 127.0.0.1, port: {port}}}\n");
    let available = |expected: &str| {
        eventually(expected, || {
            subscriber.get("watchpost/available") == expected
        });
    };
    let mut watchpost = Watchpost::start(&rest);
    available("online");
    watchpost.signal(Signal::KILL);
    watchpost.wait();
    available("offline");
    let mut watchpost = Watchpost::start(&rest);
    available("online");
    watchpost.signal(Signal::TERM);
    assert_eq!(watchpost.wait().code(), Some(0));
    available("stopped");
}

#[test]
fn two_with_one_client_id_say_so() {
    if !mosquitto() {
        return;
    }
    let port = free_port();
    let _broker = Broker::start(port);
    let rest = format!("mqtt: {{host: 127.0.0.1, port: {port}}}\n");
    let both = [Watchpost::start(&rest), Watchpost::start(&rest)];
    eventually("one of them says so", || {
        let says = |watchpost: &Watchpost| {
            watchpost
                .log()
                .contains("another client with the id `watchpost`")
        };
        both.iter().any(says)
    });
}

#[test]
fn home_assistant_sees_devices_and_nothing_is_left_of_what_goes() {
    if !mosquitto() {
        return;
    }
    let port = free_port();
    let _broker = Broker::start(port);
    let rest = |labels: &str| {
        format!(
            "mqtt: {{host: 127.0.0.1, port: {port}, client_id: house}}\ncameras:\n  front: {{source: {SCENE}, friendly_name: Front door, objects: {{track: [{labels}]}}}}\n  back: {{source: {SCENE}}}\n"
        )
    };
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    write_config(folder.path(), &rest("person, car"));
    let mut first = Watchpost::start_in(folder.clone(), watchpost());
    let device = "homeassistant/device/watchpost_house_front/config";
    eventually("the list of topics is published", || {
        retained(port).contains_key("watchpost/retained/house")
    });
    let held = retained(port);
    let front: Value = serde_json::from_str(&held[device]).expect("JSON");
    assert_eq!(front["device"]["name"], "Front door");
    assert_eq!(front["device"]["via_device"], "watchpost_house");
    assert!(held.contains_key("homeassistant/device/watchpost_house/config"));
    let components = front["components"].as_object().expect("components");
    for (name, component) in components {
        let topic = component["state_topic"].as_str().expect("a topic");
        let passing = topic.ends_with("/stats") || topic.ends_with("/object_event");
        assert!(
            passing || held.contains_key(topic),
            "{name}: {topic} holds nothing"
        );
        assert!(component["unique_id"].is_string(), "{name}");
    }

    // A label goes while nothing runs.
    first.signal(Signal::TERM);
    first.wait();
    write_config(folder.path(), &rest("person"));
    let second = Watchpost::start_in(folder, watchpost());
    eventually("the label is gone", || {
        let held = retained(port);
        let front: Value = serde_json::from_str(&held[device]).expect("JSON");
        let removed = front["components"]["car_count"] == json!({"platform": "sensor"});
        removed
            && !held
                .keys()
                .any(|topic| topic.starts_with("watchpost/front/car"))
    });

    // A camera goes while it runs.
    let (code, answer) = second.request("DELETE", "/api/cameras/back", JSON, "");
    assert_eq!(code, 200, "{answer}");
    eventually("nothing is left of it", || {
        let held = retained(port);
        let topics = held.keys().any(|topic| topic.contains("back"));
        !topics && !held["watchpost/retained/house"].contains("back")
    });
    assert!(retained(port).contains_key(device));
}

/// Certificates of a small authority: for the broker, and for the client.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(folder);
        let output = command.output().expect("openssl");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
    );
    std::fs::write(
        folder.join("broker.ext"),
        "subjectAltName=DNS:broker.example\n",
    )
    .expect("write");
    std::fs::write(folder.join("client.ext"), "extendedKeyUsage=clientAuth\n").expect("write");
    for name in ["broker", "client"] {
        openssl(&format!(
            "req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}.example"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile {name}.ext"
        ));
    }
}

/// A broker that wants TLS, a client certificate, a user and a password.
fn guarded_broker(folder: &TempDir, port: u16) -> Broker {
    let path = |name: &str| folder.path().join(name).display().to_string();
    certificates(folder.path());
    let made = Command::new("mosquitto_passwd")
        .args(["-c", "-b", &path("users"), "house", "sesame"])
        .status();
    assert!(made.expect("mosquitto_passwd").success());
    let user = if rustix::process::geteuid().is_root() {
        "user root\n"
    } else {
        ""
    };
    let text = format!(
        "{user}listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\nallow_anonymous false\npassword_file {}\n",
        path("ca.pem"),
        path("broker.pem"),
        path("broker.key"),
        path("users"),
    );
    std::fs::write(folder.path().join("mosquitto.conf"), text).expect("write");
    Broker::start_with(port, &["-c", &path("mosquitto.conf")])
}

#[test]
fn tls_with_a_client_certificate_and_a_password() {
    if !mosquitto() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let _broker = guarded_broker(&folder, port);
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(folder.path().join("password"), "sesame\n").expect("write");
    let tls = format!(
        "tls_ca_certs: {}, tls_client_cert: {}, tls_client_key: {}",
        path("ca.pem"),
        path("client.pem"),
        path("client.key")
    );
    let with = |more: &str| {
        Watchpost::start(&format!(
            "mqtt: {{host: 127.0.0.1, port: {port}, {tls}, {more}}}\n"
        ))
    };
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let more = [
        "--cafile",
        &ca,
        "--cert",
        &cert,
        "--key",
        &key,
        "--insecure",
        "-u",
        "house",
        "-P",
        "sesame",
    ];
    let subscriber = Subscriber::with(port, &more);

    // The certificate is for another name than 127.0.0.1.
    let strict = with(&format!(
        "user: house, password: \"file:{}\"",
        path("password")
    ));
    eventually("the name is refused", || {
        strict.log().contains("NotValidForName") || strict.log().contains("not valid for name")
    });
    drop(strict);
    let wrong = with("user: house, password: open, tls_insecure: true");
    eventually("the password is refused", || {
        wrong.log().contains("check `mqtt.user`")
    });
    assert_eq!(
        wrong.log().matches("check `mqtt.user`").count(),
        1,
        "{}",
        wrong.log()
    );
    assert!(!wrong.log().contains("open,"), "{}", wrong.log());
    drop(wrong);
    assert_eq!(subscriber.get("watchpost/available"), "");
    let right = with(&format!(
        "user: house, password: \"file:{}\", tls_insecure: true",
        path("password")
    ));
    eventually("it connects", || {
        subscriber.get("watchpost/available") == "online"
    });
    let shown = right.get("/api/config");
    assert_eq!(
        shown["mqtt"]["password"],
        format!("file:{}", path("password"))
    );
    assert!(!right.log().contains("sesame"), "{}", right.log());
}
