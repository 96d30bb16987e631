use alloc::string::String;

use super::*;

/// The tree, printed.
fn printed(text: &str) -> String {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

fn problem(text: &str) -> Problem {
    parse(text).expect_err(text).problem
}

#[test]
fn operators_need_no_space_and_join_commands() {
    assert_eq!(printed("a;b&&c||d ;"), "a; b && c || d");
    assert_eq!(printed("a&b|c&"), "a & b | c &");
    assert_eq!(printed("a &&\n\nb |\n# comment\n c"), "a && b | c");
    assert!(Join::IfSuccess.runs_after(0) && Join::IfFailure.runs_after(3));
    assert!(!Join::IfSuccess.runs_after(3) && !Join::IfFailure.runs_after(0));
}

#[test]
fn files_and_pipes_take_the_place_of_input_and_output() {
    assert_eq!(printed("a <in x>out>>'more out'|b"), "a x < in > out >> 'more out' | b");
    assert_eq!(printed(">out a"), "a > out");
    assert_eq!(printed(">out"), "> out");
    assert_eq!(printed("{ a; } >out <in|b"), "{ a; } > out < in | b");
}

#[test]
fn comments_and_empty_lines_are_no_commands() {
    for text in ["", "   ", "# echo", "  # a ; b", "\n\n", "\\\n", "#!/bin/sh\n\n#"] {
        assert_eq!(parse(text), Ok(List::default()), "{text}");
    }
    assert_eq!(printed("echo a#b # c\n d"), "echo a#b; d");
}

#[test]
fn compound_commands_hold_lists() {
    for (text, tree) in [
        ("if a\nthen b\nfi", "if a; then b; fi"),
        ("if a; b; then c & elif d; then e; else f; fi >x", "if a; b; then c & elif d; then e; else f; fi > x"),
        ("for x in 1 '2 3' *; do echo $x; done", "for x in 1 '2 3' *; do echo ${x}; done"),
        ("for x in\ndo a\ndone", "for x in; do a; done"),
        ("for x do a; done", "for x; do a; done"),
        ("for x\nin a; do b; done", "for x in a; do b; done"),
        ("while a; do b; done | until c; do d; done", "while a; do b; done | until c; do d; done"),
        ("{ a; b & }", "{ a; b & }"),
        ("(a;b)&&{ (c) }", "( a; b ) && { ( c ); }"),
        ("time ! a|b", "time ! a | b"),
        ("a=1 b='x y' c=", "a=1 b='x y' c="),
        ("echo if then fi { } ! a=b", "echo if then fi { } ! a=b"),
        ("echo $(a; (b)) \"$((1+2))x\"", "echo $( a; ( b ) ) \"$((1+2))\"'x'"),
        ("if { a; } then (b) fi", "if { a; }; then ( b ); fi"),
    ] {
        assert_eq!(printed(text), tree, "{text}");
        assert_eq!(printed(tree), tree, "{tree}");
    }
}

#[test]
fn a_command_knows_its_line() {
    let text = "a\n\n'b\nb' &&\nc\\\nc; if x\\\n\nthen d\nfi";
    fn lines(list: &List, found: &mut Vec<(String, usize)>) {
        for item in &list.0 {
            let rest = item.commands.rest.iter().map(|(_, pipeline)| pipeline);
            for command in [&item.commands.first].into_iter().chain(rest).flat_map(|pipeline| &pipeline.commands) {
                match command {
                    Command::Simple(simple) => found.push((simple.to_string(), simple.line.0)),
                    Command::Compound(Compound { body: Body::If { branches, .. }, .. }) => {
                        branches.iter().for_each(|(condition, body)| {
                            lines(condition, found);
                            lines(body, found);
                        });
                    }
                    other => panic!("{other}"),
                }
            }
        }
    }
    let mut found = Vec::new();
    lines(&parse(text).unwrap(), &mut found);
    let expected = [("a", 1), ("'b\nb'", 3), ("cc", 5), ("x", 6), ("d", 8)];
    assert_eq!(found, expected.map(|(text, line)| (String::from(text), line)));
}

#[test]
fn what_is_no_script_is_refused() {
    use Problem::*;
    let unexpected = |text: &str| Unexpected(text.into());
    for (text, error) in [
        ("echo 'a", Unclosed("'")),
        ("echo \"a", Unclosed("\"")),
        ("echo \"a\\", Unclosed("\"")),
        ("echo \\", NothingToEscape),
        ("; a", NoCommandBefore(";")),
        ("a ;; b", NoCommandBefore(";")),
        ("a & & b", NoCommandBefore("&")),
        ("&& a", NoCommandBefore("&&")),
        ("a && || b", NoCommandBefore("||")),
        ("a &&", NoCommandAfter("&&")),
        ("a || # b", NoCommandAfter("||")),
        ("a |", NoCommandAfter("|")),
        ("| a", NoCommandBefore("|")),
        ("a >", NoFileAfter(">")),
        ("a >> ; b", NoFileAfter(">>")),
        ("a < > b", NoFileAfter("<")),
        ("a << b", NoFileAfter("<")),
        ("a 2> b", NumberedStream),
        ("a >&2", NoFileAfter(">")),
        ("if a; then b", Missing { of: "if", word: "fi" }),
        ("if a", Missing { of: "if", word: "then" }),
        ("if", NoCommandAfter("if")),
        ("if a; then b; done", Instead { of: "if", word: "fi" }),
        ("if ; then b; fi", NoCommandBefore(";")),
        ("if then b; fi", NoCommandBefore("then")),
        ("while a; do done", NoCommandBefore("done")),
        ("while a; b; done", Instead { of: "while", word: "do" }),
        ("for 1 in a; do b; done", NotAName("1".into())),
        ("for x in a b", Missing { of: "for", word: "do" }),
        ("for", Missing { of: "for", word: "a name" }),
        ("for x in a | b; do c; done", Instead { of: "for", word: "do" }),
        ("{ a", Missing { of: "{", word: "}" }),
        ("{ a }", Missing { of: "{", word: "}" }),
        ("( a", Unclosed("(")),
        ("()", NoCommandBefore(")")),
        ("a )", unexpected(")")),
        ("f() { a; }", unexpected("(")),
        ("fi", unexpected("fi")),
        ("a; done", unexpected("done")),
        (">x if a", unexpected("if")),
        ("case x in", unexpected("case")),
        ("{ a; } b", unexpected("b")),
        ("echo `a`", unexpected("`")),
        ("time", NoCommandAfter("time")),
        ("! ! a", unexpected("!")),
        ("a=1 b", AssignmentForCommand),
        ("a=1 >x", AssignmentForCommand),
        (">x a=1", AssignmentForCommand),
        ("echo ${a", Unclosed("${")),
        ("echo ${a:-b}", NotAName("a:-b".into())),
        ("echo ${}", NotAName("".into())),
        ("echo $(a", Unclosed("$(")),
        ("echo \"$(a\"", Unclosed("\"")),
        ("echo $((1+", Unclosed("$((")),
        ("echo $((1)", Unclosed("$((")),
        ("echo $((1) )", unexpected(")")),
        ("echo $(('1'))", unexpected("'")),
        ("echo $(( $ ))", unexpected("$")),
    ] {
        assert_eq!(problem(text), error, "{text}");
    }
}

#[test]
fn an_error_says_where_it_is() {
    for (text, message) in [
        ("echo a; fi", "column 9: fi is not expected here"),
        ("echo 'a b", "column 6: ' is not closed"),
        ("echo ü | | b", "column 10: there is no command before |"),
        ("a\nif b\nthen c\n", "line 4, column 1: if needs fi, and the text ends"),
        (
            "a\n  b 2>x",
            "line 2, column 5: only input and output can be redirected: what a program complains goes to the console",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn text_that_more_lines_could_complete_is_told_apart() {
    for text in
        ["echo 'a", "a \\", "a &&", "a |", "if a\nthen", "for x in 1", "{", "(", "echo $(", "while a; do b", "! "]
    {
        assert!(parse(text).unwrap_err().is_incomplete(), "{text}");
    }
    for text in ["a )", "fi", "a ;; b", "if a; done", "a >", "echo `"] {
        assert!(!parse(text).unwrap_err().is_incomplete(), "{text}");
    }
}

#[test]
fn what_is_nested_too_deep_or_too_long_is_an_error() {
    for (open, close) in [
        ("(", ")"),
        ("{ ", ";}"),
        ("$(", ")"),
        ("echo $(", ")"),
        ("if ", ";then a;fi"),
        ("echo \"$(", ")\""),
        ("while ", ""),
        ("echo $((", "))"),
    ] {
        let nested = |depth: usize| format!("{}a{}", open.repeat(depth), close.repeat(depth));
        assert_eq!(problem(&nested(10_000)), Problem::TooDeep, "{open}");
        if !close.is_empty() && !open.ends_with("((") {
            assert!(parse(&nested(DEPTH_MAX)).is_ok(), "{open}");
            assert_eq!(problem(&nested(DEPTH_MAX + 1)), Problem::TooDeep, "{open}");
        }
    }
    assert_eq!(problem(&"a ".repeat(LENGTH_MAX)), Problem::TooLong);
    // What stands beside each other needs no depth.
    for text in ["a;", "a && ", "a | ", "(a);", "$(a) ", "a\n"] {
        let text = format!("{}a", text.repeat(LENGTH_MAX / 8));
        assert!(parse(&text).is_ok_and(|list| parse(&list.to_string()) == Ok(list)), "{text:.10}");
    }
}

/// A small generator of numbers, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % bound
    }
}

#[test]
fn any_text_is_refused_or_becomes_a_tree_that_reads_the_same_when_printed() {
    const PARTS: [&str; 70] = [
        "a",
        "b ",
        "echo ",
        "=",
        "x=",
        " ",
        " ",
        " ",
        "\n",
        ";",
        "; ",
        "&",
        " & ",
        "|",
        "&&",
        "||",
        "<",
        ">",
        ">>",
        "(",
        ")",
        "{ ",
        "; }",
        "}",
        "if ",
        "; then ",
        "; fi",
        "; elif ",
        "; else ",
        "for x in ",
        "for x",
        "; do ",
        "; done",
        "while ",
        "until ",
        "! ",
        "time ",
        "in",
        "'",
        "\"",
        "'q r'",
        "\"",
        "\\",
        "\\\n",
        "$",
        "$x",
        "${x}",
        "$1",
        "${12}",
        "$@",
        "$#",
        "$?",
        "$!",
        "$$",
        "$(",
        "$((",
        "))",
        "1",
        "+",
        "*",
        "?",
        "#",
        "# c",
        "\t",
        "ü",
        "\0",
        "`",
        "2>",
        "if a; then b; fi",
        "$(a)",
    ];
    let mut random = Random(9);
    let (mut trees, mut longest) = (0, 0);
    for _ in 0..200_000 {
        let length = random.below(14);
        let text: String = (0..length).map(|_| PARTS[random.below(PARTS.len())]).collect();
        if let Ok(list) = parse(&text) {
            let again = list.to_string();
            assert_eq!(parse(&again).as_ref(), Ok(&list), "{text:?} printed {again:?}");
            trees += 1;
            longest = longest.max(again.len());
        }
    }
    // Enough of them are trees, or the test says nothing.
    assert!(trees > 20_000 && longest > 50, "{trees} trees, the longest of {longest} bytes");
}

#[test]
fn a_script_cut_or_changed_anywhere_is_refused_or_read() {
    let script = "#!/bin/sh\nfor f in /tmp/* \"$@\"; do\n  if [ -f \"$f\" ] && ! grep x <$f; then n=$((n+1))\n  elif \
                  (a|b)&\n  then while read l; do echo \"$(cat $l)\" '$x' \\$ >>out; done; else { c; }; fi\ndone\n";
    let whole = parse(script).unwrap();
    assert_eq!(parse(&whole.to_string()), Ok(whole));
    let mut random = Random(1);
    for at in 0..script.len() {
        let _ = parse(&script[..at]);
        let _ = parse(&script[at..]);
        for _ in 0..200 {
            let mut bytes = script.as_bytes().to_vec();
            bytes[at] = b" \n;&|<>(){}'\"\\$#a1=!"[random.below(20)];
            let text = String::from_utf8(bytes).unwrap();
            if let Ok(list) = parse(&text) {
                assert_eq!(parse(&list.to_string()), Ok(list), "{text}");
            }
        }
    }
}
