//! One client, used from several runtimes.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::super::LdapClient;
use super::super::server::ClientLimits;
use super::search;
use crate::changes::tests::server::{client_of, success};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Nobody polls what drives a connection once its runtime does something else.
#[test]
fn a_connection_is_used_by_its_own_runtime_alone() {
    let of_server = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (client, _) = of_server.block_on(client_of(|_| vec![success()]));
    let limits = ClientLimits {
        silence: Duration::from_secs(2),
        ..ClientLimits::default()
    };
    let client = LdapClient::new(client.server().clone().with_limits(limits));
    let (here, there) = (runtime(), runtime());
    for connections in [1, 1] {
        here.block_on(search(&client)).unwrap();
        assert_eq!(client.traffic().connections, connections);
    }
    // Each keeps its own.
    for runtime in [&there, &there, &here, &there] {
        runtime.block_on(search(&client)).unwrap();
        assert_eq!(client.traffic().connections, 2);
    }
}
