//! The tables of `docs/ref/mqtt.md`, made from the code that publishes.
//!
//! The test fails where the page differs; `UPDATE_DOCS=1 cargo test -p watchpost outputs::mqtt::docs` writes it.

use serde_json::json;

use super::commands::Switch;
use super::discovery::components_of_a_camera;
use super::topics;
use crate::config::MqttConfig;

fn topic_table() -> String {
    let mut out = String::from("| Topic | Retained | Payload | When |\n|---|---|---|---|\n");
    for topic in topics::ALL {
        let retained = if topic.retained { "yes" } else { "no" };
        out.push_str(&format!(
            "| `{}` | {retained} | {} | {} |\n",
            topic.pattern, topic.payload, topic.when
        ));
    }
    out
}

fn command_table() -> String {
    let mut out =
        String::from("| SWITCH | Payload | Key of the camera it changes |\n|---|---|---|\n");
    for switch in Switch::ALL {
        let payload = match switch.range() {
            Some((low, high)) => format!("whole number, {low} to {high}"),
            None => "`ON` or `OFF`".to_owned(),
        };
        out.push_str(&format!(
            "| `{}` | {payload} | `{}` |\n",
            switch.name(),
            switch.key()
        ));
    }
    out
}

fn component_table() -> String {
    let camera = json!({"source": {"test": "walkers"}, "objects": {"track": ["LABEL"]}});
    let camera = serde_json::from_value(camera).unwrap();
    let config = MqttConfig::default();
    let mut out = String::from("| Component | Platform | Topic | At first |\n|---|---|---|---|\n");
    for (component, keys) in components_of_a_camera(&config, "CAM", &camera) {
        let topic = keys["state_topic"].as_str().unwrap_or_default();
        let topic = topic.trim_start_matches("watchpost/");
        let off = keys["enabled_by_default"] == json!(false);
        out.push_str(&format!(
            "| `{component}` | `{}` | `{topic}` | {} |\n",
            keys["platform"].as_str().unwrap_or_default(),
            if off { "switched off" } else { "shown" }
        ));
    }
    out
}

#[test]
fn the_page_has_what_is_published() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ref/mqtt.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut written = page.clone();
    for (name, table) in [
        ("topics", topic_table()),
        ("commands", command_table()),
        ("components", component_table()),
    ] {
        let (begin, end) = (
            format!("<!-- {name}: begin -->\n"),
            format!("<!-- {name}: end -->\n"),
        );
        let (head, rest) = written.split_once(&begin).unwrap();
        let (_, tail) = rest.split_once(&end).unwrap();
        written = format!("{head}{begin}{table}{end}{tail}");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, written).unwrap();
        return;
    }
    assert!(
        page == written,
        "docs/ref/mqtt.md is out of date; see orchestrator/src/outputs/mqtt/docs.rs"
    );
}
