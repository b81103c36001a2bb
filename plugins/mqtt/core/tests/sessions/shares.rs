//! What the members of a shared subscription may expect together (4.8.2): each message comes to one of them, also when
//! members leave, as long as one stays.

use proptest::prop_assert;
use proptest::test_runner::TestCaseError;

use crate::model::{Published, Receiver, SHARED};

/// In the end.
pub fn check(receivers: &[Receiver], published: &[Published]) -> Result<(), TestCaseError> {
    for (number, message) in (0..).zip(published) {
        if message.topic != SHARED {
            continue;
        }
        let times = receivers.iter().map(|receiver| receiver.times(number));
        let times: Vec<usize> = times.collect();
        let total: usize = times.iter().sum();
        let members = times.iter().filter(|times| **times > 0).count();
        let ended = receivers.iter().any(|it| it.ended.contains(&number));
        // QoS 2 that was sent is nobody else's (MQTT-4.8.2-5).
        let lost = ended && message.qos == 2;
        let certain = message.qos > 0 && !message.forgotten && !lost;
        prop_assert!(total > 0 || !certain, "the members lost {}", number);
        if message.qos != 1 {
            prop_assert!(total < 2, "the members got {}: {:?}", number, times);
        } else if !message.again && !ended {
            prop_assert!(members < 2, "{} went to more than one: {:?}", number, times);
        }
    }
    Ok(())
}
