//! Names that leave the deployment as pseudonyms and come back as themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use faultline_storage::durable;

use crate::error::{Error, Result};

/// Hexadecimal digits of a pseudonym, unless two names of one request share them.
const DIGITS: usize = 8;

/// The pseudonyms of one conversation. They derive from a key of the deployment, so that a name
/// has the same one every time and nobody without the key can make or guess it.
#[derive(Clone)]
pub struct Pseudonyms {
    key: [u8; 32],
    /// Pseudonym to name.
    names: BTreeMap<String, String>,
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pseudonyms({})", self.names.len())
    }
}

impl Pseudonyms {
    /// The key that is kept in `dir`; made where it is missing.
    ///
    /// # Errors
    /// The folder cannot be used, or holds something else in the key's place.
    pub fn key_in(dir: &Path) -> Result<[u8; 32]> {
        durable::create_dir_all(dir)?;
        let path = dir.join("pseudonym.key");
        if !path.exists() {
            let mut key = [0; 32];
            let source = Path::new("/dev/urandom");
            let mut random = fs::File::open(source).map_err(Error::io(source))?;
            random.read_exact(&mut key).map_err(Error::io(source))?;
            durable::create(&path, [&key[..]])?;
            let owner_only = fs::Permissions::from_mode(0o600);
            fs::set_permissions(&path, owner_only).map_err(Error::io(&path))?;
        }
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        bytes.try_into().map_err(|_| Error::Config {
            path,
            message: "it is not the 32 bytes of a key".to_owned(),
            remedy: "remove it, and recorded answers with it".to_owned(),
        })
    }

    pub fn new(key: [u8; 32]) -> Self {
        Self { key, names: BTreeMap::new() }
    }

    /// The pseudonym of a name, such as `svc-5f0c21aa`.
    pub fn of(&mut self, kind: &str, name: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(kind.as_bytes()).update(&[0]).update(name.as_bytes());
        let digits = hasher.finalize().to_hex();
        for length in (DIGITS..=digits.len()).step_by(DIGITS) {
            let pseudonym = format!("{kind}-{}", &digits[..length]);
            match self.names.get(&pseudonym) {
                Some(known) if known != name => {}
                Some(_) => return pseudonym,
                None => {
                    self.names.insert(pseudonym.clone(), name.to_owned());
                    return pseudonym;
                }
            }
        }
        unreachable!("two names with the same 256 bits")
    }

    /// The name behind a pseudonym.
    pub fn name(&self, pseudonym: &str) -> Option<&str> {
        self.names.get(pseudonym).map(String::as_str)
    }

    /// True for a text that is made of pseudonyms and a few characters that join them.
    pub fn covers(&self, text: &str) -> bool {
        if self.names.contains_key(text) {
            return true;
        }
        let rest = self.names.keys().fold(text.to_owned(), |rest, p| match rest.contains(p) {
            true => rest.replace(p.as_str(), ""),
            false => rest,
        });
        rest.len() < text.len() && rest.len() < DIGITS
    }

    /// Text with every pseudonym replaced by its name, longest first.
    pub fn restore(&self, text: &str) -> String {
        let mut pairs: Vec<(&String, &String)> = self.names.iter().collect();
        pairs.sort_by_key(|(pseudonym, _)| std::cmp::Reverse(pseudonym.len()));
        let replace = |text: String, (pseudonym, name): (&String, &String)| {
            if text.contains(pseudonym.as_str()) {
                text.replace(pseudonym.as_str(), name)
            } else {
                text
            }
        };
        pairs.into_iter().fold(text.to_owned(), replace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_its_owners_alone_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let key = Pseudonyms::key_in(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join("pseudonym.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Pseudonyms::key_in(dir.path()).unwrap(), key);
    }

    #[test]
    fn stable_per_key_and_restored() {
        let (mut a, mut b, mut c) =
            (Pseudonyms::new([1; 32]), Pseudonyms::new([1; 32]), Pseudonyms::new([2; 32]));
        let cart = a.of("svc", "cart");
        assert_eq!((cart.len(), &cart[..4]), (12, "svc-"));
        assert_eq!((&b.of("svc", "cart"), &a.of("svc", "cart")), (&cart, &cart));
        assert_ne!(c.of("svc", "cart"), cart);
        assert_ne!(a.of("host", "cart")[5..], cart[4..]);
        assert_eq!(a.name(&cart), Some("cart"));
        assert_eq!(a.restore(&format!("{cart} is slow")), "cart is slow");
        assert_eq!(b.name("svc-00000000"), None);
    }
}
