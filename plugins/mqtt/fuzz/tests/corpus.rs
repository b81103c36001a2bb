//! Every input in the corpus of every target, as an ordinary test.

use polyport_mqtt_fuzz::{TARGETS, corpus};

#[test]
fn every_input_of_every_target_is_taken() {
    for (name, run) in TARGETS {
        let folder = corpus(name);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut inputs = 0;
        for entry in entries {
            let path = entry.unwrap().path();
            println!("{name}: {}", path.display());
            run(&std::fs::read(&path).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{}: no inputs", folder.display());
        // What nobody thought of: nothing, and long runs of one byte.
        run(&[]);
        for byte in [0, 1, 0x10, 0x7f, 0x80, 0xff] {
            run(&[byte; 300]);
        }
    }
}
