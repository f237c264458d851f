use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn changes() -> Vec<Change> {
    vec![
        Change::Recall,
        Change::Edit { content_type: 1, content: Vec::new() },
        Change::React { text: "x".into() },
        Change::Unreact { text: "x".into() },
    ]
}

fn actors() -> Vec<Actor<'static>> {
    let mut actors = Vec::new();
    for user in ["author", "other"] {
        for role in [None, Some(MemberRole::Member), Some(MemberRole::Admin), Some(MemberRole::Owner)] {
            for (muted, banned) in [(false, false), (true, false), (false, true), (true, true)] {
                actors.push(Actor { user, role, muted, banned });
            }
        }
    }
    actors
}

fn targets() -> Vec<Option<Target<'static>>> {
    let mut targets = vec![None];
    for what in [TargetKind::Message, TargetKind::Recalled, TargetKind::Other] {
        for age in [Duration::ZERO, 10 * SECOND, 11 * SECOND, 20 * SECOND, 21 * SECOND, Duration::MAX] {
            targets.push(Some(Target { author: "author", age, what }));
        }
    }
    targets
}

/// The rules said once more, one line each, over every combination of facts.
#[test]
fn every_combination_of_facts_is_as_the_rules_say() {
    let limits = [None, Some(10 * SECOND), Some(20 * SECOND)];
    let (mut allowed, mut denied) = (0, 0);
    for (recall_within, edit_within) in limits.into_iter().flat_map(|a| limits.map(|b| (a, b))) {
        let policy = RightsPolicy { recall_within, edit_within };
        for actor in actors() {
            let may_read = !actor.banned && actor.role.is_some();
            let may_write = may_read && !actor.muted;
            assert_eq!(policy.decide(&actor, &Action::Send).is_ok(), may_write, "{actor:?}");
            for target in targets() {
                let message = target.filter(|target| target.what == TargetKind::Message);
                let in_time = |limit: Option<Duration>| {
                    message.is_some_and(|target| limit.is_none_or(|limit| target.age <= limit))
                };
                let author = actor.user == "author";
                for change in changes() {
                    let want = match &change {
                        Change::Recall => {
                            may_read
                                && message.is_some()
                                && (actor.role >= Some(MemberRole::Admin) || author && in_time(recall_within))
                        }
                        Change::Edit { .. } => may_write && author && in_time(edit_within),
                        Change::React { .. } => may_write && message.is_some(),
                        Change::Unreact { .. } => may_read && message.is_some(),
                    };
                    let verdict = policy.decide(&actor, &Action::Change(&change, target));
                    assert_eq!(verdict.is_ok(), want, "{policy:?} {actor:?} {change:?} {target:?}");
                    *(if want { &mut allowed } else { &mut denied }) += 1;
                    if let Err(denial) = verdict {
                        assert!(!denial.to_string().is_empty() && denial.code().name().is_some());
                    }
                }
            }
        }
    }
    assert!(allowed > 500 && denied > 5_000, "{allowed} {denied}");
}

#[test]
fn outsiders_and_the_banned_learn_nothing_about_the_target() {
    let policy = RightsPolicy::default();
    for actor in actors().into_iter().filter(|actor| actor.banned || actor.role.is_none()) {
        let verdicts: Vec<_> = targets()
            .into_iter()
            .flat_map(|target| changes().into_iter().map(move |change| (change, target)))
            .map(|(change, target)| policy.decide(&actor, &Action::Change(&change, target)))
            .collect();
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{actor:?}");
    }
}

#[test]
fn a_denial_names_what_is_wrong() {
    let policy = RightsPolicy { recall_within: Some(10 * SECOND), edit_within: Some(20 * SECOND) };
    let alice = Actor { user: "author", role: Some(MemberRole::Member), muted: false, banned: false };
    let at = |secs, what| Some(Target { author: "author", age: secs * SECOND, what });
    let recall = |target| policy.decide(&alice, &Action::Change(&Change::Recall, target));
    assert_eq!(recall(None), Err(Denial::NoTarget));
    assert_eq!(recall(at(1, TargetKind::Other)), Err(Denial::NotAMessage));
    assert_eq!(recall(at(1, TargetKind::Recalled)), Err(Denial::Recalled));
    let late = recall(at(11, TargetKind::Message)).unwrap_err();
    assert_eq!((late, late.code()), (Denial::TooLate { within: 10 * SECOND }, RefusalCode::TOO_LATE));
    assert_eq!(late.to_string(), "it is too late: this was possible for 10 s");
    let muted = Actor { muted: true, ..alice };
    assert_eq!(policy.decide(&muted, &Action::Send).unwrap_err().code(), RefusalCode::FORBIDDEN);
    assert_eq!(recall(at(10, TargetKind::Message)), Ok(()));
}
