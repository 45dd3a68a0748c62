//! A call over gRPC is traced as a request over HTTP is.

use std::process::Command;

use serde_json::json;

use super::{CALLER, TRACE, attributes, names, setup, tree};
use crate::support::eventually;
use crate::support::sink::Sink;

#[tokio::test]
async fn a_call_is_a_span_in_the_callers_trace() {
    let sink = Sink::http("");
    let app = setup(&format!("http://{}", sink.address))
        .set("GRPC_PORT", "0")
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "secret")
        .start()
        .await;
    eventually("the log tells the port", async || {
        app.log().contains("grpc=")
    })
    .await;
    let log = app.log();
    let address = log.split("grpc=").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap();
    // A message without fields: not compressed, of length 0.
    let message = app.data.join("message");
    std::fs::write(&message, [0; 5]).unwrap();
    let output = Command::new("curl")
        .args([
            "-sS",
            "--noproxy",
            "*",
            "--http2-prior-knowledge",
            "-u",
            "ana:secret",
        ])
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .args(["-H", &format!("traceparent: 00-{TRACE}-{CALLER}-01")])
        .args(["--data-binary", &format!("@{}", message.display())])
        .arg(format!(
            "http://{address}/inference.GRPCInferenceService/ServerMetadata"
        ))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("relance"),
        "{output:?}"
    );

    let (span, below) = tree(&sink, TRACE).await;
    assert_eq!(span.name, "inference.GRPCInferenceService/ServerMetadata");
    assert_eq!(hex::encode(&span.parent_span_id), CALLER);
    assert!(names(&below).is_empty());
    let told = attributes(&span.attributes);
    assert_eq!(told["rpc.system"], "grpc");
    assert_eq!(told["rpc.service"], "inference.GRPCInferenceService");
    assert_eq!(told["rpc.method"], "ServerMetadata");
    assert_eq!(told["rpc.grpc.status_code"], json!(0));
    assert_eq!(told["user.id"], "ana");
}
