use super::*;

fn names(block: Result<Option<Block>, InheritError>) -> Option<Vec<String>> {
    block.unwrap().map(|block| block.names)
}

#[test]
fn the_block_is_ours_or_it_is_not() {
    assert_eq!(parse(None, None, None, 7).unwrap(), None);
    assert_eq!(parse(Some("8"), Some("1"), None, 7).unwrap(), None);
    assert_eq!(parse(Some("7"), Some("0"), None, 7).unwrap(), None);
    let ours = parse(Some("7"), Some("2"), Some("http:admin"), 7)
        .unwrap()
        .unwrap();
    assert_eq!(
        ours,
        Block {
            names: vec!["http".into(), "admin".into()],
            addressed: true
        }
    );
    let unaddressed = parse(None, Some("1"), None, 7).unwrap().unwrap();
    assert_eq!(
        unaddressed,
        Block {
            names: vec![UNNAMED.into()],
            addressed: false
        }
    );
}

#[test]
fn a_block_of_another_process_may_be_anything() {
    assert_eq!(
        parse(Some("8"), Some("nonsense"), Some(":::"), 7).unwrap(),
        None
    );
}

#[test]
fn names_may_repeat_and_be_empty() {
    let block = parse(Some("7"), Some("3"), Some("a::a"), 7);
    assert_eq!(
        names(block),
        Some(vec!["a".into(), UNNAMED.into(), "a".into()])
    );
    assert_eq!(
        names(parse(None, Some("1"), Some(""), 7)),
        Some(vec![UNNAMED.into()])
    );
}

#[test]
fn numbers_are_digits_only() {
    for bad in ["", " 1", "+1", "-1", "1x", "99999999999999999999999"] {
        let error = parse(Some("7"), Some(bad), None, 7).unwrap_err();
        assert!(
            matches!(error, InheritError::NotANumber { .. }),
            "{bad:?}: {error}"
        );
        let error = parse(Some(bad), Some("1"), None, 7).unwrap_err();
        assert!(
            matches!(error, InheritError::NotANumber { .. }),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn limits_and_mismatches_are_refused() {
    assert!(matches!(
        parse(None, Some("1025"), None, 7),
        Err(InheritError::TooMany {
            limit: MAX_INHERITED,
            found: 1025
        })
    ));
    assert!(matches!(
        parse(None, Some("2"), Some("a:b:c"), 7),
        Err(InheritError::NamesMismatch {
            expected: 2,
            found: 3
        })
    ));
    for bad in ["a\nb", "ä", "\u{7f}"] {
        let block = parse(None, Some("1"), Some(bad), 7);
        assert!(
            matches!(block, Err(InheritError::BadName { .. })),
            "{bad:?}"
        );
    }
    let long = "x".repeat(MAX_NAME + 1);
    assert!(matches!(
        parse(None, Some("1"), Some(&long), 7),
        Err(InheritError::BadName { .. })
    ));
}
