//! Methods that do not exist, methods of other roles, and bytes that are no message.

use cofre_proto::v1;
use cofre_proto::v1::deposit_service_client::DepositServiceClient;

use super::{METHOD, Yard, framed, raw};

/// Unlisted methods, and listed ones of other roles: one answer for all of them.
pub(super) async fn refused(yard: &Yard) {
    let front = yard.front_end("gestora-norte").await;
    let worker = yard.worker_channel("w02").await;
    let auditor = yard.channel(&yard.world.people_door, "person-auditor-ada").await;
    let astray = yard.channel(&yard.world.people_door, "worker-w02").await;
    let unlisted = [
        "/cofre.v1.ReleaseService/Reveal",
        "/cofre.v1.ReleaseService/release",
        "/cofre.v1.ReleaseService/Release/",
        "/cofre.v1.ReleaseService/%52elease",
        "/cofre.v1.DepositService/",
        "/x.Y/Z",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/",
    ];
    let mut answers = Vec::new();
    for channel in [&front, &worker, &auditor] {
        for path in unlisted {
            let status = raw(channel, path, framed(&[])).await;
            answers.push(yard.refused(path, Err::<(), _>(status), METHOD, None));
        }
    }
    for (who, channel, method) in [
        ("front end", &front, "ReleaseService/Release"),
        ("front end", &front, "SecurityService/Lockdown"),
        ("front end", &front, "AuditService/Search"),
        ("worker", &worker, "DepositService/DepositKey"),
        ("worker", &worker, "DepositService/OpenEnrolment"),
        ("worker", &worker, "DepositService/Deposit"),
        ("worker", &worker, "DepositService/CredentialState"),
        ("worker", &worker, "ConsentService/Grant"),
        ("worker", &worker, "RelayService/Watch"),
        ("worker", &worker, "PrivacyService/Erase"),
        ("auditor", &auditor, "PrivacyService/Erase"),
        ("auditor", &auditor, "SecurityService/Lockdown"),
        ("auditor", &auditor, "AdminService/PutTenant"),
        ("worker at the people's door", &astray, "ReleaseService/Release"),
    ] {
        let status = raw(channel, &format!("/cofre.v1.{method}"), framed(&[])).await;
        let what = format!("{method} as {who}");
        answers.push(yard.refused_at(&what, Some(method), Err::<(), _>(status), METHOD, None));
    }
    let told = |index: usize| (answers[index].message.clone(), answers[index].retry_after);
    assert!((1..answers.len()).all(|index| told(index) == told(0)), "{answers:?}");
    assert_eq!(yard.settle().await, answers.len());
}

/// Whether the vault goes on serving this very connection.
async fn serves_on(yard: &Yard, front: &tonic::transport::Channel, after: &str) {
    let credential_id = yard.crowd[0].credential.to_string();
    let mut deposits = DepositServiceClient::new(front.clone());
    let state = deposits.credential_state(v1::CredentialStateRequest { credential_id }).await;
    state.unwrap_or_else(|status| panic!("after {after}: {status:?}"));
}

/// Too large, cut short, not protobuf, encoded.
pub(super) async fn broken_messages(yard: &Yard) {
    let front = yard.front_end("gestora-norte").await;
    let path = "/cofre.v1.DepositService/CredentialState";
    let text = |len: usize| [&[0x0a], varint(len).as_slice(), vec![b'A'; len].as_slice()].concat();
    let exactly = text(64 * 1024 - 4);
    assert_eq!(exactly.len(), 64 * 1024);

    // The largest message is read, and refused for what it says.
    let status = raw(&front, path, framed(&exactly)).await;
    yard.refused("64 KiB", Err::<(), _>(status), super::BAD, Some("credential_id"));
    let refused = async |what: &str, field: &str, body: Vec<u8>| {
        yard.refused(what, Err::<(), _>(raw(&front, path, body).await), super::BAD, Some(field));
        serves_on(yard, &front, what).await;
    };
    refused("one byte more", "message", framed(&text(64 * 1024 - 3))).await;
    // A frame that promises four gigabytes is refused by its first five bytes.
    refused("a promise of 4 GiB", "message", [&[0], [0xff; 4].as_slice(), b"short"].concat()).await;
    refused("a frame cut short", "message", [&[0, 0, 0, 0, 40], b"abc".as_slice()].concat()).await;
    refused("a frame without its head", "message", vec![0, 0]).await;
    refused("no message", "message", Vec::new()).await;
    let endless = [&[0x0a], [0xff; 10].as_slice()].concat();
    refused("a field cut short", "credential_id", framed(&[0x0a, 0x20, b'c'])).await;
    refused("a length without end", "credential_id", framed(&endless)).await;
    refused("another wire type", "credential_id", framed(&[0x08, 0x01])).await;
    refused("no UTF-8", "credential_id", framed(&[0x0a, 0x02, 0xff, 0xfe])).await;
    refused("noise", "message", framed(&[0xde, 0xad, 0xbe, 0xef])).await;
    let mut flagged = framed(&[]);
    flagged[0] = 1;
    refused("a message marked as compressed", "message", flagged).await;
    assert_eq!(yard.settle().await, 12);
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
    bytes
}
