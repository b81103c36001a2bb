//! The wire transcripts, replayed against the real host with the real library.

mod support;

use polyport_testkit::transcript::Transcript;
use support::{MODIFIED, base64, files_host, set_modified};

#[test]
fn transcripts_hold_against_the_real_host() {
    let host = files_host()
        .settings("files", "max_upload_size = 1000000")
        .file("files/empty.bin", "")
        .file("files/hello.txt", "abcdefghijklmnopqrstuvwxyz012345")
        .file(
            "files/ranges.txt",
            (0..250).map(|i| format!("{i:03} ")).collect::<String>(),
        )
        .file("files/site/index.html", "<h1>site</h1>")
        .file("files/list/a<b>.txt", "abc")
        .file("files/list/.hidden", "")
        .file("files/list/b c/keep", "")
        .file("files/.hidden", "")
        .start();
    let files = host.path().join("files");
    for name in ["empty.bin", "hello.txt", "ranges.txt", "list/a<b>.txt"] {
        set_modified(&files.join(name));
    }
    std::os::unix::fs::symlink("..", files.join("out")).unwrap();
    let etag = support::etag(&files.join("hello.txt"));
    for transcript in Transcript::load_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts")) {
        let mut transcript = transcript
            .var("etag", &etag)
            .var("modified", MODIFIED)
            .var("long", "x".repeat(300))
            .var("wrong", base64("alice:wrong"))
            .var("unknown", base64("mallory:wonderland"));
        for (name, password) in support::PASSWORDS {
            transcript = transcript.var(name, base64(&format!("{name}:{password}")));
        }
        transcript.replay(|_| host.connect("files"));
    }
}
