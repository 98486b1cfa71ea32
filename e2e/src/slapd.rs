//! An OpenLDAP server of a test's own, with a few people and groups, as a child process that can be stopped.

use std::path::Path;
use std::process::{Command as StdCommand, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::environment::variable;
use crate::eventually::eventually;
use crate::lessor::free_port;

/// Below which everything lies.
pub const BASE: &str = "dc=example,dc=org";

/// The account that may look everything up.
pub const ADMIN: &str = "cn=admin,dc=example,dc=org";

/// Its password.
pub const ADMIN_PASSWORD: &str = "admin-secret";

/// An account that may look everything up and change its own password.
pub const LOOKUP: &str = "cn=lookup,dc=example,dc=org";

/// Its password at the beginning.
pub const LOOKUP_PASSWORD: &str = "lookup-secret";

/// People `sam` (password `sam-secret`), `o(dd)*` (`odd-secret`) and two who are both called `Twin`; groups `devs` with `sam`,
/// and `ops` with nobody that matters; `deep`, of which `sam` is a member by his `tokenGroups` only, as Active Directory has it.
const ENTRIES: &str = "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
    dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n\
    dn: ou=groups,dc=example,dc=org\nobjectClass: organizationalUnit\nou: groups\n\n\
    dn: cn=lookup,dc=example,dc=org\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: lookup\n\
    userPassword: lookup-secret\n\n\
    dn: uid=sam,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: adObject\nuid: sam\ncn: Sam Ple\n\
    sn: Ple\nuserPassword: sam-secret\ntokenGroups:: AQUAAAAAAAUVAAAAqqqqqrs=\ntokenGroups:: AQEAAAAAAAE=\n\n\
    dn: cn=Deep,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\nobjectClass: adObject\ncn: Deep\n\
    member: cn=nobody\nobjectSid:: AQUAAAAAAAUVAAAAqqqqqrs=\n\n\
    dn: uid=o(dd)*,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: o(dd)*\ncn: Odd\nsn: Odd\n\
    userPassword: odd-secret\n\n\
    dn: uid=twin1,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: twin1\ncn: Twin\nsn: T\n\
    userPassword: twin-secret\n\n\
    dn: uid=twin2,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: twin2\ncn: Twin\nsn: T\n\
    userPassword: twin-secret\n\n\
    dn: cn=Devs,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: Devs\n\
    member: uid=sam,ou=people,dc=example,dc=org\n\n\
    dn: cn=Ops,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: Ops\n\
    member: uid=twin1,ou=people,dc=example,dc=org\n";

/// A running server. It ends with the value.
pub struct Slapd {
    folder: TempDir,
    /// Without TLS, and with TLS.
    ports: (u16, u16),
    /// The server's own certificate, PEM.
    pub certificate: String,
    child: Child,
}

impl Slapd {
    /// Makes and starts a server.
    ///
    /// # Panics
    /// When OpenLDAP is not there or does not start.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("lessor-slapd").tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let path = folder.path();
        std::fs::create_dir(path.join("data")).unwrap();
        std::fs::write(path.join("server.crt"), &certificate).unwrap();
        std::fs::write(path.join("server.key"), key.serialize_pem()).unwrap();
        std::fs::write(path.join("entries.ldif"), ENTRIES).unwrap();
        std::fs::write(path.join("slapd.conf"), configuration(path)).unwrap();
        let added = StdCommand::new(variable("LESSOR_SLAPD"))
            .args(["-T", "add", "-f"])
            .arg(path.join("slapd.conf"))
            .arg("-l")
            .arg(path.join("entries.ldif"))
            .output()
            .unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let ports = (free_port(), free_port());
        let child = spawn(path, ports);
        let server = Self { folder, ports, certificate, child };
        server.listening().await;
        server
    }

    /// Its address without TLS, which may turn to TLS.
    pub fn url(&self) -> String {
        format!("ldap://localhost:{}", self.ports.0)
    }

    /// Its address with TLS.
    pub fn tls_url(&self) -> String {
        format!("ldaps://localhost:{}", self.ports.1)
    }

    /// Ends it at once.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again with the same data.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), self.ports);
        self.listening().await;
    }

    async fn listening(&self) {
        eventually("slapd listens", Duration::from_secs(30), || async {
            let both = [self.ports.0, self.ports.1].map(|port| tokio::net::TcpStream::connect(("localhost", port)));
            futures_util::future::try_join_all(both).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
}

fn spawn(folder: &Path, (plain, tls): (u16, u16)) -> Child {
    Command::new(variable("LESSOR_SLAPD"))
        .args(["-d", "0", "-f"])
        .arg(folder.join("slapd.conf"))
        .args(["-h", &format!("ldap://localhost:{plain} ldaps://localhost:{tls}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("LESSOR_SLAPD can be started")
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    // Debian's folders; a program given by LESSOR_SLAPD looks for its modules where it was built to.
    let schema = ["core", "cosine", "inetorgperson"].map(|name| format!("include /etc/ldap/schema/{name}.schema"));
    format!(
        "{}\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {folder}/pid\n\
         TLSCertificateFile {folder}/server.crt\nTLSCertificateKeyFile {folder}/server.key\n\
         attributetype ( 1.3.6.1.4.1.55555.1 NAME 'tokenGroups' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )\n\
         attributetype ( 1.3.6.1.4.1.55555.2 NAME 'objectSid' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )\n\
         objectclass ( 1.3.6.1.4.1.55555.3 NAME 'adObject' SUP top AUXILIARY MAY ( tokenGroups $ objectSid ) )\n\
         database mdb\nsuffix \"{BASE}\"\nrootdn \"{ADMIN}\"\nrootpw {ADMIN_PASSWORD}\ndirectory {folder}/data\n\
         access to attrs=userPassword by self write by anonymous auth by * none\n\
         access to * by anonymous auth by * read\n",
        schema.join("\n")
    )
}
