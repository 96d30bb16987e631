# The Makefile's variables, out of its lines `#= NAME=VALUE | targets | what it does`; `*` stands for every target.
#
#   awk -v help=1 -f tests/variables.awk Makefile
#       what `make help` says about them
#   awk -v goals='run' -v given='BORD CMD' -f tests/variables.awk Makefile
#       what is wrong with the first name that none of these targets takes; nothing if all is well
#       (`-v around=` has names out of the environment, which only have to exist)
#
# Runs before anything is installed or compiled, hence in what every system has.

BEGIN { FS = " *[|] *" }

/^#= / {
    entry = substr($1, 4)
    name = entry
    sub(/=.*/, "", name)
    if (help) {
        if ($2 != group) printf "Variables of %s:\n", words($2)
        printf "  %-18s %s\n", entry, $3
        group = $2
    }
    targets[name] = targets[name] " " $2
    names[++count] = name
}

END {
    if (help) exit
    for (i = split(goals, each, " "); i > 0; i--) wanted[each[i]]
    own = split(given, each, " ")
    total = split(given " " around, each, " ")
    for (i = 1; i <= total; i++) {
        if (!(each[i] in targets)) {
            printf "there is no variable %s%s\n", each[i], suggestion(each[i])
            exit
        }
        if (i <= own && !takes(each[i])) {
            printf "%s means nothing to make %s: it is a variable of %s\n", each[i], goals, words(targets[each[i]])
            exit
        }
    }
}

function takes(name, i) {
    if (has(name, "*")) return 1
    for (i in wanted) if (has(name, i)) return 1
    return 0
}

function has(name, target) { return index(" " targets[name] " ", " " target " ") > 0 }

# `a b c` as `a, b and c`.
function words(list, part, last, text, i) {
    last = split(list, part, " ")
    if (part[1] == "*") return "every target"
    for (i = 1; i <= last; i++) text = text (i == 1 ? "" : i == last ? " and " : ", ") part[i]
    return text
}

# The nearest name; none if all are so far away that more than half of the letters differ.
function suggestion(name, i, d, best, least) {
    least = 99
    for (i = 1; i <= count; i++) {
        d = distance(toupper(name), names[i])
        # Of two at the same distance, one that these targets take.
        if (d < least || d == least && !takes(best) && takes(names[i])) { least = d; best = names[i] }
    }
    return 2 * least > length(name) ? "; see make help" : ": " best " is the nearest"
}

# How many letters to add, to leave out, to change or to swap with their neighbour (Damerau and Levenshtein).
function distance(one, other, i, j, cost, d) {
    for (i = 0; i <= length(one); i++) d[i, 0] = i
    for (j = 0; j <= length(other); j++) d[0, j] = j
    for (i = 1; i <= length(one); i++)
        for (j = 1; j <= length(other); j++) {
            cost = substr(one, i, 1) != substr(other, j, 1)
            d[i, j] = least_of(d[i - 1, j] + 1, d[i, j - 1] + 1, d[i - 1, j - 1] + cost)
            if (i > 1 && j > 1 && substr(one, i, 1) == substr(other, j - 1, 1) &&
                substr(one, i - 1, 1) == substr(other, j, 1))
                d[i, j] = least_of(d[i, j], d[i - 2, j - 2] + 1, d[i, j])
        }
    return d[length(one), length(other)]
}

function least_of(a, b, c) {
    if (b < a) a = b
    return c < a ? c : a
}
