//! TLS: whose certificate is taken, and for which host.

use std::process::Command;

use orderlock_postgres::{OpenError, PostgresOptions, PostgresStore};

use crate::cluster::{Cluster, give};
use crate::opening::refused;
use crate::world::join;

/// Makes a private key and a certificate: of an authority, or by the one that was made before.
fn openssl(cluster: &Cluster, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(cluster.path(""))
        .output()
        .expect("these tests need the program `openssl`: apt-get install openssl");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {told}");
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

fn authority(cluster: &Cluster, name: &str) {
    openssl(
        cluster,
        &format!("req -x509 {KEY} -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"),
    );
}

/// A cluster that speaks TLS with a certificate for `localhost`, and for no other host.
fn cluster() -> Cluster {
    let cluster = Cluster::new(&[]);
    authority(&cluster, "ours");
    authority(&cluster, "theirs");
    openssl(
        &cluster,
        &format!("req {KEY} -keyout server.key -out server.csr -subj /CN=localhost"),
    );
    cluster.write("extensions", "subjectAltName = DNS:localhost\n");
    openssl(
        &cluster,
        "x509 -req -in server.csr -CA ours.pem -CAkey ours.key -CAcreateserial -days 2 \
         -extfile extensions -out server.pem",
    );
    for name in ["server.key", "server.pem"] {
        give(&cluster.path(name));
    }
    cluster.crash();
    let file = |name: &str| cluster.path(name).display().to_string();
    cluster.configure(&[
        "ssl = on",
        &format!("ssl_cert_file = '{}'", file("server.pem")),
        &format!("ssl_key_file = '{}'", file("server.key")),
    ]);
    cluster.write("data/pg_hba.conf", "hostssl all all all scram-sha-256\n");
    cluster.start();
    cluster
}

#[tokio::test]
async fn a_certificate_is_taken_from_its_authority_and_for_its_host_alone() {
    let cluster = cluster();
    let by = |host: &str, authority: &str| {
        let file = cluster.path(authority).display().to_string();
        let address = cluster.address_by(host, "postgres");
        format!("{address}?sslmode=verify-full&sslrootcert={file}")
    };
    let store = PostgresStore::open(&by("localhost", "ours.pem"), PostgresOptions::default()).await;
    join(&store.unwrap(), "a").await;
    for (host, authority) in [("localhost", "theirs.pem"), ("127.0.0.1", "ours.pem")] {
        let error = refused(&by(host, authority)).await;
        assert!(
            matches!(error, OpenError::Untrusted(_)),
            "{host} {authority}: {error:?}"
        );
    }
    // The operating system vouches for neither, and a plain `require` is no less strict.
    let system = format!(
        "{}?sslmode=require",
        cluster.address_by("localhost", "postgres")
    );
    let error = refused(&system).await;
    let strict = matches!(error, OpenError::Untrusted(_) | OpenError::Authorities(_));
    assert!(strict, "{error:?}");
    let error = refused(&by("localhost", "server.key")).await;
    assert!(matches!(error, OpenError::Authorities(_)), "{error:?}");
    // The server takes no plain text, and the store does not try TLS where it was told not to.
    let plain = format!(
        "{}?sslmode=disable",
        cluster.address_by("localhost", "postgres")
    );
    let error = refused(&plain).await;
    assert!(matches!(error, OpenError::Login(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_plain_text() {
    let cluster = Cluster::new(&[]);
    authority(&cluster, "ours");
    let file = cluster.path("ours.pem").display().to_string();
    let address = cluster.address_by("localhost", "postgres");
    let error = refused(&format!("{address}?sslmode=verify-full&sslrootcert={file}")).await;
    assert!(matches!(error, OpenError::Unreachable(_)), "{error:?}");
}
