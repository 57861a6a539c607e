// Templates that try to take time, memory or stack: each must end quickly, with an error.
#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "text/chat_template.h"

namespace tern::text {
namespace {

std::string repeat(std::string_view text, std::size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) out += text;
  return out;
}

/// Whatever comes of it, it comes soon and as a value.
Result<std::string> run(const std::string& source) {
  auto chat_template = ChatTemplate::parse(source, "hostile");
  if (!chat_template) return std::unexpected(chat_template.error());
  return chat_template->render({});
}

struct Hostile {
  const char* name;
  std::string source;
};

void PrintTo(const Hostile& hostile, std::ostream* out) {
  *out << hostile.name;
}

class HostileTemplate : public testing::TestWithParam<Hostile> {};

TEST_P(HostileTemplate, IsRefusedInTime) {
  const std::clock_t begin = std::clock();
  const auto text = run(GetParam().source);
  const double seconds = double(std::clock() - begin) / CLOCKS_PER_SEC;
  EXPECT_FALSE(text) << "gave " << text->size() << " bytes";
  // Processor time, so that a busy machine does not count. Sanitizers take several times as much.
  EXPECT_LT(seconds, 10.0);
  RecordProperty("milliseconds", static_cast<int>(seconds * 1000));
}

const std::string kNestedLoops =
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{{ a }}{% endfor %}{% endfor %}{% endfor %}";

const std::string kSixteenMegabytes = "{% set s = 'x' * 16000000 %}";

INSTANTIATE_TEST_SUITE_P(
    Nesting, HostileTemplate,
    testing::Values(Hostile{"open parentheses", "{{ " + repeat("(", 1'000'000)},
                    Hostile{"parentheses",
                            "{{ " + repeat("(", 400'000) + "1" + repeat(")", 400'000) + " }}"},
                    Hostile{"brackets", "{{ " + repeat("[", 400'000)},
                    Hostile{"braces", "{{ " + repeat("{1:", 300'000)},
                    Hostile{"calls", "{{ " + repeat("f(", 400'000)},
                    Hostile{"subscripts", "{{ " + repeat("a[", 400'000)},
                    Hostile{"attributes", "{{ a" + repeat(".a", 400'000) + " }}"},
                    Hostile{"items", "{{ a" + repeat("[0]", 300'000) + " }}"},
                    Hostile{"filters", "{{ a" + repeat("|e", 400'000) + " }}"},
                    Hostile{"tests", "{{ a" + repeat(" is odd", 140'000) + " }}"},
                    Hostile{"sums", "{{ 1" + repeat("+1", 400'000) + " }}"},
                    Hostile{"powers", "{{ 1" + repeat("**1", 300'000) + " }}"},
                    Hostile{"ands", "{{ 1" + repeat(" and 1", 150'000) + " }}"},
                    Hostile{"nots", "{{ " + repeat("not ", 200'000) + "1 }}"},
                    Hostile{"minuses", "{{ " + repeat("-", 900'000) + "1 }}"},
                    Hostile{"conditionals", "{{ " + repeat("1 if 0 else ", 80'000) + "1 }}"},
                    Hostile{"if chains", "{{ 1" + repeat(" if 1", 150'000) + " }}"},
                    Hostile{"ifs", repeat("{% if 1 %}", 90'000)},
                    Hostile{"fors", repeat("{% for a in b %}", 60'000)},
                    Hostile{"macros", repeat("{% macro m() %}", 60'000)},
                    Hostile{"set blocks", repeat("{% set a %}", 90'000)},
                    Hostile{"targets", "{% set " + repeat("(", 400'000)},
                    Hostile{"open comment", repeat("{#", 500'000)},
                    Hostile{"open raw", "{% raw %}" + repeat("{% ", 300'000)},
                    Hostile{"open string", "{{ '" + repeat("\\'", 500'000)},
                    Hostile{"digits", "{{ " + repeat("9", 1'000'000) + " }}"}));

INSTANTIATE_TEST_SUITE_P(
    Size, HostileTemplate,
    testing::Values(
        Hostile{"range", "{{ range(10**9) | list }}"},
        Hostile{"string repetition", "{{ 'x' * 10**9 }}"},
        Hostile{"list repetition", "{{ [1] * 10**9 }}"},
        Hostile{"repeated repetition",
                "{% set ns = namespace(s='x') %}{% for i in range(60) %}"
                "{% set ns.s = ns.s * 2 %}{% endfor %}"},
        Hostile{"doubling",
                "{% set ns = namespace(s='x') %}{% for i in range(60) %}"
                "{% set ns.s = ns.s ~ ns.s %}{% endfor %}"},
        Hostile{"power", "{{ 9 ** (9 ** (9 ** 9)) }}"},
        Hostile{"big product",
                "{% set ns = namespace(n=7) %}{% for i in range(60) %}"
                "{% set ns.n = ns.n * ns.n %}{% endfor %}"},
        Hostile{"printf width", "{{ '%999999999d' % 1 }}"},
        Hostile{"printf star", "{{ '%*d' % (999999999, 1) }}"},
        Hostile{"printf precision", "{{ '%.999999999f' % 1.5 }}"},
        Hostile{"format width", "{{ '{:999999999}'.format(1) }}"},
        Hostile{"format fill", "{{ '{:*^9999999999}'.format('a') }}"},
        Hostile{"ljust", "{{ 'a'.ljust(10**9) }}"}, Hostile{"center", "{{ 'a' | center(10**9) }}"},
        Hostile{"zfill", "{{ '1'.zfill(10**9) }}"},
        Hostile{"expandtabs", "{{ '\t'.expandtabs(10**9) }}"},
        Hostile{"indent", "{{ ('a\n' * 100000) | indent(100000) }}"},
        Hostile{"json indent", "{{ [1, 2] | tojson(indent=10**9) }}"},
        Hostile{"json separators",
                "{{ (range(99999) | list) | tojson(separators=(',' * 100000, ':')) }}"},
        Hostile{"join", "{{ range(99999) | join('x' * 100000) }}"},
        Hostile{"replace", "{{ ('a' * 100000).replace('a', 'b' * 100000) }}"},
        Hostile{"replace nothing", "{{ ('a' * 100000).replace('', 'b' * 100000) }}"},
        Hostile{"batch", "{{ [1] | batch(10**9, 'x') | list }}"},
        Hostile{"slice", "{{ [1] | slice(10**9) | list }}"},
        Hostile{"wordwrap", "{{ ('a' * 1000000) | wordwrap(1, wrapstring='x' * 100000) }}"},
        Hostile{"shared lists",
                "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}"
                "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}"},
        Hostile{"shared lists as json",
                "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}"
                "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}"},
        Hostile{"shared lists compared",
                "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(60) %}"
                "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}"
                "{{ ns.l == ns.m }}"},
        Hostile{"deep list",
                "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}"
                "{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}"},
        Hostile{"deep lists compared",
                "{% set ns = namespace(l=[], m=[]) %}{% for i in range(99999) %}"
                "{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l < ns.m }}"},
        Hostile{"deep key",
                "{% set ns = namespace(l=()) %}{% for i in range(9999) %}"
                "{% set ns.l = (ns.l,) %}{% endfor %}{{ {ns.l: 1} }}"},
        Hostile{"namespace in itself", "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}"},
        Hostile{"quadratic list",
                "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}"
                "{% set ns.l = ns.l + [i] %}{% endfor %}"},
        Hostile{"quadratic text",
                "{% set ns = namespace(l='') %}{% for i in range(99999) %}"
                "{% set ns.l = ns.l ~ 'abcdefgh' %}{% endfor %}"},
        Hostile{"output", kSixteenMegabytes + "{% for i in range(99999) %}{{ s }}{% endfor %}"},
        Hostile{"captures", kSixteenMegabytes + "{% for i in range(99999) %}{% set t %}{{ s }}"
                                                "{% endset %}{% endfor %}"},
        Hostile{"namespace of many",
                "{% set ns = namespace() %}{% for i in range(99999) %}{% for j in "
                "range(99999) %}{% set ns.a = ns %}{% endfor %}{% endfor %}"}));

INSTANTIATE_TEST_SUITE_P(
    Work, HostileTemplate,
    testing::Values(
        Hostile{"loops", kNestedLoops},
        Hostile{"empty loops",
                "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}"
                "{% endfor %}"},
        Hostile{"recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"},
        Hostile{"exponential recursion",
                "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}"
                "{% endif %}{% endmacro %}{{ m(100) }}"},
        Hostile{"mutual recursion",
                "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}"
                "{% endmacro %}{{ a() }}"},
        Hostile{"caller recursion",
                "{% macro a() %}{% call a() %}{{ caller() }}{% endcall %}"
                "{% endmacro %}{{ a() }}"},
        Hostile{"recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"},
        Hostile{"default recursion", "{% macro m(a=m()) %}{% endmacro %}{{ m() }}"},
        Hostile{
            "map of map",
            "{{ [[1]] | map('map', 'map', 'map', 'string') | map('list') | list }}" + kNestedLoops},
        Hostile{"search",
                "{% set h = 'a' * 1000000 %}{% set n = 'a' * 500000 ~ 'b' %}"
                "{% for i in range(99999) %}{{ n in h }}{% endfor %}"},
        Hostile{"reverse search",
                "{% set h = 'a' * 1000000 %}{% set n = 'b' ~ 'a' * 500000 %}"
                "{% for i in range(99999) %}{{ h.rfind(n) }}{% endfor %}"},
        Hostile{"character access",
                "{% set s = '\xc3\xa9' * 1000000 %}{% for i in range(99999) %}"
                "{{ s[i] }}{% endfor %}"},
        Hostile{"sorting",
                "{% for i in range(99999) %}{{ range(99999) | sort(reverse=true) | "
                "first }}{% endfor %}"},
        Hostile{"strip",
                "{% set s = ' ' * 1000000 %}{% for i in range(99999) %}{{ s.strip() }}"
                "{% endfor %}"},
        Hostile{"case",
                "{% set s = '\xce\xa3' * 1000000 %}{% for i in range(99999) %}"
                "{{ s | lower | length }}{% endfor %}"},
        Hostile{"format braces", "{{ '" + repeat("{", 400'001) + "'.format() }}"},
        Hostile{"nested formats", "{{ '{:{:{:{}}}}'.format(1, 2, 3, 4) }}"}));

TEST(HostileTemplates, RenderInTimeWhenTheyAreHarmless) {
  for (const std::string& source :
       {repeat("{{ 1 }}", 140'000), repeat("{% if 1 %}{% endif %}", 45'000),
        "{{ 'a'" + repeat("~'a'", 200'000) + " }}",
        "{{ [" + repeat("1,", 400'000) + "] | length }}", repeat("{# #}\n", 150'000),
        "{% set x = " + repeat("'a' ", 200'000) + " %}{{ x | length }}",
        "{% if 0 %}" + repeat("{% elif 0 %}", 80'000) + "{% endif %}"}) {
    const auto text = run(source);
    EXPECT_TRUE(text) << source.substr(0, 30) << ": " << text.error().message();
  }
}

TEST(HostileTemplates, KeepRecursionWithinReason) {
  const auto text =
      run("{% macro m(n) %}{% if n %}{{ n }}{% for i in [1] %}{{ m(n - 1) }}{% endfor %}{% endif %}"
          "{% endmacro %}{{ m(60) }}");
  EXPECT_TRUE(text) << text.error().message();
}

}  // namespace
}  // namespace tern::text
