//! md5-crypt by Poul-Henning Kamp, the hash of `$1$` and, with another magic, of `$apr1$`.

use md5::{Digest, Md5};

/// The alphabet of crypt(3).
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many rounds there always are.
const ROUNDS: usize = 1000;

/// The 22 characters that follow `MAGIC SALT $`. `magic` is `$1$` or `$apr1$`.
pub fn md5_crypt(magic: &str, password: &[u8], salt: &[u8]) -> Vec<u8> {
    let inner: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut first = Md5::new()
        .chain_update(password)
        .chain_update(magic)
        .chain_update(salt);
    for piece in password.chunks(inner.len()) {
        first.update(&inner[..piece.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        match password.first() {
            Some(byte) if length & 1 == 0 => first.update([*byte]),
            _ => first.update([0]),
        }
        length >>= 1;
    }
    let mut last: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let mut next = Md5::new();
        next.update(if odd { password } else { &last });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &last } else { password });
        last = next.finalize().into();
    }
    encode(&last)
}

/// The bytes in crypt's own order, six bits a character, low ones first.
fn encode(bytes: &[u8; 16]) -> Vec<u8> {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut text = Vec::with_capacity(22);
    let mut put = |mut bits: u32, characters: usize| {
        for _ in 0..characters {
            text.push(ALPHABET[(bits & 63) as usize]);
            bits >>= 6;
        }
    };
    for [high, middle, low] in ORDER.map(|places| places.map(|place| u32::from(bytes[place]))) {
        put(high << 16 | middle << 8 | low, 4);
    }
    put(bytes[11].into(), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_openssl() {
        // openssl passwd -apr1 -salt saltsalt secret; openssl passwd -1 -salt saltsalt secret
        assert_eq!(
            md5_crypt("$apr1$", b"secret", b"saltsalt"),
            b"LrttParrLPdxvgutaSXWJ0"
        );
        assert_eq!(
            md5_crypt("$1$", b"secret", b"saltsalt"),
            b"9xy1btjgzLYfb7hivXtC//"
        );
    }
}
