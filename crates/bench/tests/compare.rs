//! The comparison, in its small form: every server that people usually write runs, and loses nothing.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_table_of_the_tutorials_is_measured_with_every_usual_server() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("tutorial.json");
    let output = Command::new(env!("CARGO_BIN_EXE_fanfare-bench"))
        .args(["tutorial", "--quick", "--json"])
        .arg(&json)
        .arg("--folder")
        .arg(folder.path())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let table: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(table["skipped"], Value::Array(vec![]), "{told}");
    let rows = table["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Fanfare", "Express", "better-sse", "ws", "Socket.IO", "long polling, Express"]);
    for row in rows {
        let delivery = &row["fan_out"]["figures"]["delivery"];
        assert_eq!(delivery["delivered"], delivery["expected"], "{row}");
        assert!(delivery["expected"].as_u64() >= Some(150) && delivery["cut"] == 0, "{row}");
        let data_bytes = table["data_bytes"].as_f64();
        assert!(row["wire"]["bytes_per_event"].as_f64() > data_bytes, "an event has at least its data: {row}");
    }
}
