//! Frigate's own numbers, by the example program that anyone can run on a file of them.

#[path = "../examples/vectors/cases.rs"]
mod cases;
#[path = "../examples/vectors/frames.rs"]
mod frames;

#[test]
fn frigates_vectors_give_frigates_numbers() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../../shared/vectors/frigate-vectors.json"
    );
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: {path} is not there");
        return;
    };
    let report = cases::run(&text).unwrap();
    println!("{}\n{}", report.lines.join("\n"), report.summary());
    assert_eq!(report.failed, 0);
    assert!(report.passed >= 160 && report.on_purpose <= 1);
}

#[test]
fn a_wrong_number_is_noticed() {
    let vectors = r#"{"vectors": [
        {"fn": "calculate_region", "in": {"frame_hw": [432, 768], "box": [290, 82, 335, 179], "min_region": 320, "multiplier": 1}, "out": [152, 0, 472, 321]},
        {"fn": "iou", "in": {"a": [0, 0, 9, 9], "b": [0, 0, 9, 9]}, "out": 1.0},
        {"fn": "iou", "in": {"a": [0, 0, 9, 9]}, "out": 1.0},
        {"fn": "motion", "in": {"frame": "a sunset"}, "out": []},
        {"fn": "motion", "in": {"frame": "40x60 all 0, then left half 255, then all 9"}, "out": [{"boxes": []}, {"boxes": [[0, 0, 99, 40]]}]}
    ]}"#;
    let report = cases::run(vectors).unwrap();
    assert_eq!(
        report.summary(),
        "1 passed, 3 failed, 0 different on purpose, 1 unknown"
    );
    assert!(cases::run("[]").is_err());
}
