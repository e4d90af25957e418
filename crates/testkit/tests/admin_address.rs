//! The admin address has no authentication yet: the requests that it takes, and those that it keeps
//! from an operator's browser, from files of the site's machine, and from other requests' places.

#[path = "common/http.rs"]
mod http;

use gnomon_broker::RawConfig;
use gnomon_testkit::{MemDisk, Site};
use http::{ask, connect, rest};
use std::{io::Write, net::TcpStream};

/// Connections that send half a request: more than the admin address serves at once.
const HALF_SENT: usize = 100;

const LINK: &str = "name: l\nclient_options:\n  bootstrap_servers: [\"127.0.0.1:1\"]\n";

fn site() -> Site {
    let settings = RawConfig {
        admin_host: vec!["site-a".to_owned()],
        ..RawConfig::default()
    };
    Site::start_with(&MemDisk::new(), settings).expect("a site")
}

#[test]
fn a_posted_link_cannot_name_a_file_or_a_variable_of_the_site() {
    let site = site();
    let host = format!("Host: {}", site.admin());
    for reference in ["${file:/proc/self/environ}", "${env:PATH}"] {
        let body = format!(
            "{LINK}  tls_settings:\n    enabled: false\n    tls_pem_settings:\n      key: \"{reference}\"\n"
        );
        let headers = [&*host, "Content-Type: application/yaml"];
        let answer = ask(site.admin(), "POST", "/v1/links", &headers, &body);
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("is not read for a request"),
            "{answer}"
        );
    }
    site.stop();
}

#[test]
fn a_page_in_an_operators_browser_can_neither_post_nor_rebind_its_name() {
    let site = site();
    let admin = site.admin();
    let host = format!("Host: {admin}");
    let json = "Content-Type: application/json";
    let path = "/v1/links/nobody/failover";
    let status = |headers: &[&str]| {
        let answer = ask(admin, "POST", path, headers, "{\"all\": true}");
        answer.get(9..12).unwrap_or_default().to_owned()
    };
    let same = format!("Origin: http://{admin}");
    assert_eq!(status(&[&host, json]), "404");
    assert_eq!(status(&[&host, json, &same]), "404");
    assert_eq!(status(&["Host: site-a:9644", json]), "404");
    assert_eq!(status(&["Host: localhost", json]), "404");
    assert_eq!(status(&["Host: rebound.example", json]), "403");
    assert_eq!(status(&[json]), "403");
    assert_eq!(status(&[&host, json, "Origin: http://127.0.0.1:1"]), "403");
    assert_eq!(status(&[&host, json, "Origin: null"]), "403");
    assert_eq!(status(&[&host, "Content-Type: text/plain"]), "415");
    assert_eq!(status(&[&host]), "415");
    site.stop();
}

#[test]
fn half_sent_requests_end_and_keep_no_other_request_out_for_good() {
    let site = site();
    let admin = site.admin();
    let host = format!("Host: {admin}");
    let half: Vec<TcpStream> = (0..HALF_SENT)
        .map(|_| {
            let mut socket = connect(admin);
            write!(socket, "GET /health HTTP/1.1\r\nHost: ").expect("sent");
            socket
        })
        .collect();
    let health = ask(admin, "GET", "/health", &[&host], "");
    assert!(health.ends_with("ok\n"), "{health}");
    for socket in half {
        let answer = rest(socket);
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    site.stop();
}

#[test]
fn a_body_is_bounded_in_size_and_in_time() {
    let site = site();
    let admin = site.admin();
    let head = |length: usize| {
        format!(
            "POST /v1/links HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/yaml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\nname: l"
        )
    };
    for (length, status) in [(100, "HTTP/1.1 408"), (2 << 20, "HTTP/1.1 413")] {
        let mut socket = connect(admin);
        write!(socket, "{}", head(length)).expect("sent");
        let answer = rest(socket);
        assert!(answer.starts_with(status), "{answer}");
    }
    site.stop();
}
