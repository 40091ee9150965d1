//! Certificates and keys: what is taken, what is refused, and where it says so.

use std::fs;

use aws_lc_rs::encoding::AsDer;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;
use crate::domain::UnixTime;

/// A folder with `{name}.pem` and `{name}.key`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn issue(&self, name: &str, names: &[&str], key: &KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = CertificateParams::new(names).unwrap().self_signed(key).unwrap();
        self.write(&format!("{name}.pem"), &made.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn check(&self, certificates: &str, more: &str) -> Result<Config, ConfigErrors> {
        let text = format!("{HEAD}[server.tls]\ncertificates = [{certificates}]\n{more}\n");
        check::check(&text, self.0.path(), Path::new("c.toml"), &|_| None)
    }
}

fn pair(cert: &str, key: &str) -> String {
    format!("{{ cert = \"{cert}.pem\", key = \"{key}.key\" }}")
}

fn pem(label: &str, der: &[u8]) -> String {
    ::pem::encode(&::pem::Pem::new(label, der))
}

#[test]
fn keys_of_three_forms_are_taken() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    folder.issue("pkcs8", &["a.test"], &key);
    folder.issue("sec1", &["b.test"], &key);
    // Within PKCS#8 lies the older form.
    let inner = |der: &[u8], at: usize| {
        assert_eq!(der[at], 0x30);
        der[at..].to_vec()
    };
    let params = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let sec1 = inner(&key.serialize_der(), 29);
    folder.write("sec1.key", &(params.to_owned() + &pem("EC PRIVATE KEY", &sec1)));
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der = rsa.as_der().unwrap().as_ref().to_vec();
    let pkcs8 = PrivatePkcs8KeyDer::from(der.clone());
    let rsa = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_RSA_SHA256).unwrap();
    folder.issue("pkcs1", &["c.test", "*.C.test", "10.0.0.1", "::1"], &rsa);
    folder.write("pkcs1.key", &pem("RSA PRIVATE KEY", &inner(&der, 26)));
    let all = ["pkcs8", "sec1", "pkcs1"].map(|name| pair(name, name)).join(", ");
    let config = folder.check(&all, "").unwrap();
    let tls = config.server.tls.as_ref().unwrap();
    assert_eq!(tls.listen, ["127.0.0.1:8443".parse().unwrap()]);
    assert_eq!(tls.identities[2].names, ["c.test", "*.c.test", "10.0.0.1", "::1"]);
    assert!(tls.clients.is_none());
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    folder.issue("good", &["a.test"], &key);
    folder.issue("other", &["b.test"], &KeyPair::generate().unwrap());
    folder.issue("nameless", &[], &key);
    folder.write("encrypted.key", &pem("ENCRYPTED PRIVATE KEY", b"x"));
    folder.write("broken.pem", &pem("CERTIFICATE", b"x"));
    folder.write("broken.key", &pem("PRIVATE KEY", b"x"));
    folder.write("empty.pem", "");
    let good = pair("good", "good");
    for (certificates, more, key, word) in [
        (pair("good", "other"), "", "certificates.key", "the key of the certificate in cert"),
        (pair("good", "encrypted"), "", "certificates.key", "not encrypted"),
        (pair("good", "broken"), "", "certificates.key", "RSA key of 2048"),
        (pair("broken", "good"), "", "certificates.cert", "damaged"),
        (pair("empty", "good"), "", "certificates.cert", "CERTIFICATE"),
        (format!("{good}, {}", pair("nameless", "nameless")), "", "certificates", "subjectAltName"),
        (good.clone(), "client_ca = \"empty.pem\"", "client_ca", "CERTIFICATE"),
        (good.clone(), "client_ca = \"broken.pem\"", "client_ca", "damaged"),
        (good.clone(), "client_ca = \"no.pem\"", "client_ca", "can't be read"),
    ] {
        let errors = folder.check(&certificates, more).unwrap_err();
        let [fault] = errors.faults() else { panic!("{certificates}: {errors}") };
        assert_eq!(fault.key, format!("server.tls.{key}"), "{errors}");
        assert_eq!(fault.line, Some(if key == "client_ca" { 8 } else { 7 }), "{errors}");
        assert!(fault.message.contains(word), "{errors}");
    }
}

#[test]
fn a_name_twice_and_dates_are_warned_of() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    folder.write("old.pem", &params.self_signed(&key).unwrap().pem());
    folder.write("old.key", &key.serialize_pem());
    let twice = format!("{}, {}", pair("old", "old"), pair("old", "old"));
    let config = folder.check(&twice, "client_ca = \"old.pem\"").unwrap();
    assert!(warned(&config).contains("two certificates for \"a.test\""), "{}", warned(&config));
    assert!(config.server.tls.as_ref().unwrap().clients.as_ref().is_some_and(|c| !c.required));
    folder.issue("nameless", &[], &key);
    let nameless = folder.check(&pair("nameless", "nameless"), "").unwrap();
    let told = warned(&nameless);
    assert!(
        told.contains("c:7: server.tls.certificates: has a certificate that names no"),
        "{told}"
    );
    assert!(!warned(&config).contains("names no host"));
    let at = |text| config.out_of_date(UnixTime::parse_rfc3339(text).unwrap());
    assert_eq!(at("2020-06-01T00:00:00Z"), []);
    for (time, word) in [
        ("2019-12-31T23:59:59Z", "not valid before 2020-01-01"),
        ("2021-01-01T00:00:00Z", "ran out at 2021-01-01"),
    ] {
        let warnings = at(time);
        assert_eq!(warnings.len(), 2);
        let shown = warnings[0].at(Path::new("c")).to_string();
        assert!(shown.starts_with("c:7: server.tls.certificates.cert: "), "{shown}");
        assert!(shown.contains(word), "{shown}");
    }
}
