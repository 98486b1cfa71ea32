//! Certificates of an authority that is made here, shown to roles of all kinds.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::storage::memory::Memory;

const NOW: i64 = 1_700_000_000;

fn date(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date(NOW - 100), date(NOW + 100_000));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A client's certificate, with everything that roles can ask for.
fn client(authority: &CertifiedIssuer<'static, KeyPair>, serial: u64) -> rcgen::Certificate {
    client_params(serial).signed_by(&KeyPair::generate().unwrap(), authority).unwrap()
}

fn client_params(serial: u64) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "web-1");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "shop");
    params.subject_alt_names.push(rcgen::SanType::URI("spiffe://example/web".try_into().unwrap()));
    params.subject_alt_names.push(rcgen::SanType::Rfc822Name("web@example".try_into().unwrap()));
    params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], b"\x0c\x04blue".to_vec()));
    params.serial_number = Some(SerialNumber::from(serial));
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date(NOW - 50), date(NOW + 10_000));
    params
}

/// A list of that authority, good for a day.
fn revoking(authority: &CertifiedIssuer<'static, KeyPair>, serials: &[u64]) -> rcgen::CertificateRevocationList {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date(NOW),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date(NOW),
        next_update: date(NOW) + Duration::days(1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(authority).unwrap()
}

struct Fixture {
    method: Cert,
    clock: ManualClock,
}

impl Fixture {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_second(NOW).unwrap());
        let view = View::new(Arc::new(Memory::default()), "cert/");
        let method = Cert {
            roles: Objects::new(view.clone(), "cert/"),
            crls: Objects::new(view.clone(), "crl/"),
            view,
            clock: Arc::new(clock.clone()),
            mount: "cert".into(),
            fetching: Default::default(),
            answers: Answers::default(),
            http: OnceLock::new(),
        };
        Self { method, clock }
    }

    async fn set(&self, path: &str, body: Value) -> Result<(), String> {
        let fields = body.as_object().cloned().unwrap_or_default().into();
        let request = Request { operation: Operation::Write, path: path.into(), fields, caller: Caller::default() };
        self.method.handle(request).await.map(drop).map_err(|error| error.to_string())
    }

    async fn login(&self, certificate: &rcgen::Certificate, name: &str) -> Result<Login, String> {
        let caller = Caller { certificates: [certificate.der().to_vec()].into(), ..Caller::default() };
        let fields = json!({ "name": name }).as_object().cloned().unwrap().into();
        self.method.login(&fields, &caller).await.map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_logs_in() {
    let (fixture, trusted, other) = (Fixture::new(), authority("trusted"), authority("other"));
    let role = json!({ "certificate": trusted.pem(), "display_name": "Web", "token_policies": "p",
        "allowed_metadata_extensions": "1.2.3.4" });
    fixture.set("certs/web", role).await.unwrap();
    let own = client(&trusted, 7);
    let login = fixture.login(&own, "").await.unwrap();
    assert_eq!((login.display_name.as_str(), login.alias.unwrap().name.as_str()), ("cert-Web", "web-1"));
    let metadata = |key: &str| login.metadata[key].as_str();
    assert_eq!((metadata("cert_name"), metadata("serial_number"), metadata("1-2-3-4")), ("web", "7", "blue"));
    assert!(metadata("authority_key_id").len() > 20);
    let refused = "invalid certificate or no client certificate supplied";
    assert_eq!(fixture.login(&client(&other, 8), "").await.unwrap_err(), refused);
    assert_eq!(fixture.login(&own, "none").await.unwrap_err(), refused);
    let nothing = fixture.method.login(&Fields::default(), &Caller::default()).await.unwrap_err();
    assert_eq!((nothing.status(), nothing.to_string().as_str()), (400, refused));
    fixture.clock.advance(std::time::Duration::from_secs(10_001));
    assert_eq!(fixture.login(&own, "").await.unwrap_err(), refused, "it has expired");
}

#[tokio::test]
async fn roles_ask_for_names_and_extensions() {
    let (fixture, trusted) = (Fixture::new(), authority("trusted"));
    let own = client(&trusted, 7);
    for (bound, fine) in [
        (json!({ "allowed_common_names": "web-*" }), true),
        (json!({ "allowed_common_names": "db-*" }), false),
        (json!({ "allowed_dns_sans": "*.example" }), true),
        (json!({ "allowed_dns_sans": "web-1" }), false),
        (json!({ "allowed_email_sans": "web@*" }), true),
        (json!({ "allowed_uri_sans": "spiffe://example/*" }), true),
        (json!({ "allowed_uri_sans": "spiffe://other/*" }), false),
        (json!({ "allowed_organizational_units": "shop,pay" }), true),
        (json!({ "allowed_organizational_units": "pay" }), false),
        (json!({ "required_extensions": "1.2.3.4:bl*" }), true),
        (json!({ "required_extensions": "hex:1.2.3.4:0c04*" }), true),
        (json!({ "required_extensions": "1.2.3.4:red" }), false),
        (json!({ "required_extensions": "1.2.3.5:*" }), false),
        (json!({ "allowed_names": "web.example", "allowed_common_names": "other" }), false),
    ] {
        let mut role = json!({ "certificate": trusted.pem() });
        role.as_object_mut().unwrap().extend(bound.as_object().unwrap().clone());
        fixture.method.roles.remove("r").await.unwrap();
        fixture.set("certs/r", role).await.unwrap();
        assert_eq!(fixture.login(&own, "r").await.is_ok(), fine, "{bound}");
    }
    for (role, text) in [
        (json!({ "certificate": "x" }), "failed to parse certificate"),
        (json!({ "certificate": "" }), "\"certificate\" is missing"),
        (json!({ "certificate": trusted.pem(), "ocsp_servers_override": "ldap://x" }), "does not begin with http"),
        (json!({ "certificate": trusted.pem(), "required_extensions": "1.2" }), "is not OID:VALUE"),
    ] {
        let error = fixture.set("certs/new", role).await.unwrap_err();
        assert!(error.contains(text), "{error}");
    }
}

#[tokio::test]
async fn a_clients_own_certificate_can_be_trusted_and_any_can_be_revoked() {
    let (fixture, authority) = (Fixture::new(), authority("a"));
    let (own, sister) = (client(&authority, 7), client(&authority, 8));
    fixture.set("certs/one", json!({ "certificate": own.pem() })).await.unwrap();
    assert!(fixture.login(&own, "").await.is_ok());
    assert!(fixture.login(&sister, "").await.is_err());
    fixture.set("certs/all", json!({ "certificate": authority.pem() })).await.unwrap();
    assert!(fixture.login(&sister, "").await.is_ok());
    let pem = revoking(&authority, &[8]).pem().unwrap();
    fixture.set("crls/a", json!({ "crl": pem })).await.unwrap();
    assert!(fixture.login(&sister, "").await.is_err() && fixture.login(&own, "").await.is_ok());
    assert!(fixture.set("crls/b", json!({ "crl": "x" })).await.unwrap_err().contains("not a revocation list"));
}

#[tokio::test]
async fn a_clients_own_certificate_vouches_for_nobody_else() {
    let (fixture, authority) = (Fixture::new(), authority("a"));
    let own = CertifiedIssuer::signed_by(client_params(7), KeyPair::generate().unwrap(), &authority).unwrap();
    let mut other = CertificateParams::default();
    other.distinguished_name.push(DnType::CommonName, "admin");
    (other.not_before, other.not_after) = (date(NOW - 50), date(NOW + 1000));
    let forged = other.signed_by(&KeyPair::generate().unwrap(), &own).unwrap();
    fixture.set("certs/one", json!({ "certificate": own.pem() })).await.unwrap();
    assert!(fixture.login(own.as_ref(), "").await.is_ok());
    assert!(fixture.login(&forged, "").await.is_err());
    fixture.set("certs/one", json!({ "certificate": format!("{}{}", authority.pem(), own.pem()) })).await.unwrap();
    assert!(fixture.login(&forged, "").await.is_err());
}

#[tokio::test]
async fn a_token_is_renewed_with_the_certificate_of_its_login() {
    let (fixture, authority) = (Fixture::new(), authority("a"));
    let (own, sister) = (client(&authority, 7), client(&authority, 8));
    fixture.set("certs/all", json!({ "certificate": authority.pem(), "token_policies": "p" })).await.unwrap();
    let login = fixture.login(&own, "").await.unwrap();
    let policies = login.token.policies();
    let renews = async |shown: Option<&rcgen::Certificate>| {
        let certificates = shown.map(|certificate| certificate.der().to_vec()).into_iter().collect();
        let caller = Caller { certificates, ..Caller::default() };
        let renewal = Renewal { metadata: &login.metadata, policies: &policies, caller: &caller };
        fixture.method.check_renewal(&renewal).await.is_ok()
    };
    assert!(renews(Some(&own)).await);
    assert!(!renews(Some(&sister)).await && !renews(None).await);
    fixture.set("config", json!({ "disable_binding": true })).await.unwrap();
    assert!(renews(None).await);
    fixture.set("certs/all", json!({ "token_policies": "q" })).await.unwrap();
    assert!(!renews(None).await);
}

/// Publishes whatever it holds; nothing is an error.
async fn publisher() -> (String, Arc<std::sync::Mutex<Vec<u8>>>) {
    use hyper_util::rt::TokioIo;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/list.crl", listener.local_addr().unwrap());
    let held = Arc::new(std::sync::Mutex::new(Vec::new()));
    let shared = held.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = shared.clone();
            let service = hyper::service::service_fn(move |_: http::Request<hyper::body::Incoming>| {
                let body = shared.lock().unwrap().clone();
                let status = if body.is_empty() { 404 } else { 200 };
                let body = http_body_util::Full::new(bytes::Bytes::from(body));
                let response = http::Response::builder().status(status).body(body).unwrap();
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, held)
}

#[tokio::test]
async fn a_published_list_is_kept_fresh() {
    let (fixture, authority, other) = (Fixture::new(), authority("a"), authority("b"));
    let (first, second) = (client(&authority, 7), client(&authority, 8));
    let (url, held) = publisher().await;
    let publish = |list: &rcgen::CertificateRevocationList| *held.lock().unwrap() = list.der().to_vec();
    let address = json!({ "url": url });
    assert!(fixture.set("crls/a", address.clone()).await.unwrap_err().contains("404"));
    publish(&revoking(&authority, &[7]));
    assert!(fixture.set("crls/a", address.clone()).await.unwrap_err().contains("no authority of this mount's roles"));
    fixture.set("certs/all", json!({ "certificate": authority.pem() })).await.unwrap();
    assert!(fixture.set("crls/a", json!({ "url": "ldap://x" })).await.unwrap_err().contains("must begin with http"));
    fixture.set("crls/a", address).await.unwrap();
    assert!(fixture.login(&first, "").await.is_err() && fixture.login(&second, "").await.is_ok());
    publish(&revoking(&authority, &[7, 8]));
    assert!(fixture.login(&second, "").await.is_ok(), "it is not asked for at each login");
    let pass = |seconds| fixture.clock.advance(std::time::Duration::from_secs(seconds));
    pass(3600);
    // Nobody who can put himself between makes the list shorter.
    publish(&revoking(&other, &[]));
    assert!(fixture.login(&first, "").await.is_err());
    held.lock().unwrap().clear();
    pass(60);
    assert!(fixture.login(&first, "").await.is_err(), "the old list counts while its server is away");
    publish(&revoking(&authority, &[8]));
    pass(60);
    // Their certificates end later than that.
    assert!(fixture.login(&second, "").await.is_err());
}
