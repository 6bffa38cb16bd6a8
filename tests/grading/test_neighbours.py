"""Many keys and answers with their verdicts, each graded both ways: neighbours of the examples in the table of rules.

A line holds a key and the content of the answer's box.
"""

import pytest

from racviz.grading.judging import right

RIGHT = r"""
True | true
True | \text{true}
False | \textbf{FALSE}
3 red, 2 blue | 2 blue, 3 red
3 red, 2 blue | 3\text{ red}, 2\text{ blue}
3 cm, 2 cm | 3, 2
120^\circ | 120
120^\circ\text{C} | 120
5=x | 5
5=x | x=5
2+3=x | 5
\overline{3+4i} | 3-4i
\overline{\frac{1+i}{2}} | \frac{1-i}{2}
\sqrt[3]{-8} | -2
\sqrt[5]{-\frac{1}{32}} | -\frac12
\sqrt[3]{2}\cdot\sqrt[3]{4} | 2
\lg 100 | 2
\lg x | \log_{10} x
5\choose 2 | 10
{5\choose 2} | 10
3{5\choose 2}+1 | 31
{n+1\choose k} | \binom{n+1}{k}
12 | 12th
12^{\text{th}} | 12^{th}
3 | 3^{\text{rd}}
5 | \boxed{\boxed{5}}
1/3 | 0.\overline{3}
0.1\overline{6} | \frac{1}{6}
0.\dot{3} | 1/3
0.333\ldots | \frac13
\sqrt{2} | \sqrt{2} \approx 1.414
\frac{10}{3} | x = \frac{10}{3} \approx 3.33
5 | 2+3=5
9\pi | A = \pi r^2 = 9\pi
5 | x = 5
x=5 | 5
y = 2x + 3 | 2x+3
y = 2x + 3 | f(x) = 2x+3
y=2x+3 | 2x - y + 3 = 0
5x - 7y + 11z + 4 = 0 | 10x-14y+22z+8=0
5x - 7y + 11z + 4 = 0 | -5x+7y-11z=4
(-\infty,3) | x < 3
(-\infty,3) | 3 > x
(-\infty,3] | x \le 3
[-2,7] | -2 \le x \le 7
x \in [-2,7] | [-2,7]
x \in [-2,7] | -2\leq x\leq 7
(2,12) \cup (12,102) | (12,102) \cup (2,12)
(-\infty, 2) \cup (3, \infty) | x<2 \text{ or } x>3
(-\infty, 2) \cup (3, \infty) | x<2, x>3
(2,3) | x>2 \text{ and } x<3
(2,3) | 2<x<3
(2,\infty) | x>2
(2,\infty) | (2,+\infty)
(2,\infty) | \{x \mid x>2\}
(2,\infty) | \{x : x > 2\}
(2,\infty) | \{x \in \mathbb{R} \mid x > 2\}
\mathbb{R}\setminus\{0\} | (-\infty,0)\cup(0,\infty)
\mathbb{R}\setminus\{0\} | x \ne 0
\mathbb{R} | (-\infty,\infty)
\mathbb{R} | \text{all real numbers}
\emptyset | \{\}
∅ | \varnothing
\{1,2,3\} | \{3,2,1\}
\{1,2,3\} | 3, 2, 1
\{1,1,2\} | \{1,2\}
(1,2) | 1, 2
(3,4] | \left(3,4\right]
2, 3 | 3, 2
2, 3 | 3 \text{ and } 2
2, 3 | x = 2 \text{ or } x = 3
2, 3 | x=2,3
x=1, y=2 | (1,2)
(1,2) | x=1, y=2
(x,y) = (1,2) | (1,2)
x=1, y=2 | y=2, x=1
1 \pm \sqrt{19} | 1+\sqrt{19}, 1-\sqrt{19}
1 \pm \sqrt{19} | x = 1 \pm \sqrt{19}
2, -2 | \pm 2
\{1\pm\sqrt{5},-2\} | -2, 1-\sqrt5, 1+\sqrt5
52_8 | 52_{8}
52_8 | 52_{\text{eight}}
52_8 | 52 \text{ base } 8
52_8 | 52
42 | 42_{10}
2B_{16} | 2B_{16}
2+2i | 2(1+i)
1+2i | 2i+1
6-5i | 6 - 5 i
-1 | i^2
\frac{1}{i} | -i
6.02e23 | 6.02\times 10^{23}
1e+22 | 10^{22}
1e-07 | 10^{-7}
1e-07 | 0.0000001
1e22 | 10000000000000000000000
1000000.0 | 10^6
2e-7 | 2e - 7
58,500 | 58500
58,500 | 58\,500
58,500 | 58 500
58,500 | 58{,}500
10,\!080 | 10080
11,\! 111,\! 111,\! 100 | 11111111100
3.5 | 3{,}5
100, 200, 300 | 300, 200, 100
1\frac{4}{5} | 9/5
1\frac{4}{5} | 1.8
1\frac45 | 1 4/5
137 \frac{1}{2} | 137.5
-1\frac12 | -1.5
1½ | \frac32
½ | 0.5
x² | x^2
−5 | -5
2×3 | 6
2π | 2\pi
√2 | \sqrt{2}
2√2 | \sqrt 8
x ≤ 3 | x \leq 3
４２ | 42
٤٢ | 42
90^\circ | 90
90^\circ | 90°
90^\circ | 90 \text{ degrees}
90^\circ | 90^{\circ}
15\mbox{ cm}^2 | 15
15\mbox{ cm}^2 | 15 \text{ square centimeters}
15\mbox{ cm}^2 | 15\,\mathrm{cm}^2
864 \mbox{ inches}^2 | 864 \text{ in}^2
864 \mbox{ inches}^2 | 864 \text{ sq. in.}
5.4 \text{ cents} | 5.4
\$18.90 | 18.9
\$18.90 | 18.90 \text{ dollars}
\$36 | 36
3\text{ hours} | 3 hours
3\text{ hours} | 3\text{ hour}
3\text{ hours} | 3 \text{ hrs}
3000000 | 3 million
3000000 | 3 \text{ million}
3 million dollars | \$3{,}000{,}000
5\text{ m} | 5m
5 \text{ m/s} | 5 \text{ meters per second}
5 \text{ m/s} | 5 \frac{\text{m}}{\text{s}}
12 apples | 12
50\% | 50
50\% | 0.5
50\% | \frac12
12.5\% | 12.5
50\% | 50 \text{ percent}
DBAC | DBAC
DBAC | D, B, A, C
A, C | A and C
\text{(C)} | \textbf{(C)}\ 5
\text{(C)} | C
\text{(C)} | (C)
\text{(C)} | C.
C | \text{C}
C | \mathrm{C}
C | \mathbf{C}
5 | \textbf{(C)}\ 5
\text{(C)} | \text{The answer is (C)}
\text{Evelyn} | Evelyn
\text{east} | \text{east.}
42 | \text{The answer is } 42
42 | The answer is 42.
\text{Yes} | Yes
2:1 | 2 \text{ to } 1
2:1 | 4:2
5:30 | 5:30 \text{ p.m.}
5:30 \text{ p.m.} | 5:30 PM
\frac{1}{500!} | \frac{501}{501!}
\sqrt{5+2\sqrt6} | \sqrt2+\sqrt3
1, 2, \ldots, n | 1,2,\dots,n
n = 3k, k \in \mathbb{N} | n=3k, k\in\mathbb N
\begin{pmatrix}1\\2\end{pmatrix} | \begin{bmatrix}1\\2\end{bmatrix}
\begin{pmatrix}1\\2\end{pmatrix} | \left[\begin{array}{c}1\\2\end{array}\right]
\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix} | \begin{pmatrix} -\frac13 \\ \frac23 \\ \frac53 \end{pmatrix}
(a+5)(b+2) | ab+2a+5b+10
p - q | -q+p
\cot x | \frac{\cos x}{\sin x}
\frac{x^2-1}{x-1} | x+1
xy | yx
ab | ba
2(3) | 6
\dfrac{17}{50} | \frac{17}{50}
\tfrac34 | 0.75
.35625 | 0.35625
.0000672 | 6.72 \times 10^{-5}
\frac{270}7\text{ degrees} | \frac{270}{7}
\frac{3}{2} | 3/2
2k+2 | 2(k+1)
\infty | +\infty
\ln 2 | \log_e 2
8! | 40320
\binom{5}{2} | 10
\dbinom52 | 10
|x-3| | \left|x-3\right|
2^{1/2} | \sqrt2
x^{1/3} | \sqrt[3]{x}
-\frac{\pi}{6} | \frac{-\pi}{6}
288 \pi | 288π
5r^5 | 5 r^5
\text{twelve} | 12
2 | \text{two}
3\sqrt{13} | \sqrt{117}
(15,-29) | (15, -29)
\left( 3, \frac{\pi}{2} \right) | (3, \pi/2)
3R^2 | 3 R^2
18+2\pi | 2(9+\pi)
4210_{5} | 4210_5
\frac{\sqrt{3}}{3} | \frac{1}{\sqrt3}
5 feet 6 inches | 5 \text{ feet } 6 \text{ inches}
\$32,\!348 | \$32,348
\$32,\!348 | 32348
1.25 | \frac54
(1,-16,-4,43) | (1, -16, -4, 43)
\frac{11+9a}{20} | \frac{9a+11}{20}
\text{odd} | odd
2\mathbf{i}+3\mathbf{j} | 2i+3j
3\cdot 10^5 | 300000
e^{i\pi} | -1
[1, 2, 3] | 1, 2, 3
75^\circ | \angle A = 75^\circ
5 | \text{Area} = 5
5 | AB = 5
\{x \mid x<3\} | x<3
]2,4[ | (2,4)
0 | -0
\frac{1}{2} | \text{one half}
10 \text{ units} | 10
20 \text{ miles per hour} | 20 mph
x>3 | 3<x
2x<6 | x<3
x+y<3 | y<3-x
y > 2x+1 | 2x+1<y
A\cup B | B \cup A
\overline{AB} | \overline{AB}
\text{Alice, Bob} | Alice and Bob
7 \text{ (approximately)} | 7
3, 5, 7 | 3,5,7
3, 5, 7 | \{3,5,7\}
1,-2 | -2, 1
-2,1 | x = -2, x = 1
-2,1 | x\in\{-2,1\}
6r^2-4r-24 | 2(3r^2-2r-12)
2k | 2 k
2k | 2\cdot k
\frac{20000}{\pi} | 20000/\pi
(-\sqrt{3}, \sqrt{3}) | |x| < \sqrt{3}
(-\sqrt{3}, \sqrt{3}) | -\sqrt{3}<x<\sqrt{3}
(0,9) \cup (9,36) | (0,36) \setminus \{9\}
\left[ \frac{\pi^2}{8}, \frac{5 \pi^2}{4} \right] | [\pi^2/8, 5\pi^2/4]
\left[ \frac{\pi^2}{8}, \frac{5 \pi^2}{4} \right] | \frac{\pi^2}{8} \le y \le \frac{5\pi^2}{4}
\{2\} | 2
(2, 3] \cup [5, 7) | [5,7) ∪ (2,3]
(1,2), (3,4) | (3,4), (1,2)
\{(1,2),(3,4)\} | (1,2), (3,4)
x \geq 0 | [0,\infty)
x \geq 0 | x≥0
x > 0 | 0 < x
x \neq 1 | x≠1
0.5 | .5
0.5 | 0.50
0.5 | 1/2
0.\overline{142857} | \frac17
0.1(6) | \frac16
2.\overline{9} | 3
0.272727\ldots | \frac{3}{11}
1/2 | 2^{-1}
10^{-7} | 1e-7
1e-7 | 1\times10^{-7}
1.5e3 | 1500
6.02E23 | 6.02 \cdot 10^{23}
6.02 \times 10^23 | 6.02e23
2^10 | 1024
2**10 | 1024
12345678901234567890 | 12345678901234567890.0
\sin^2 x+\cos^2 x | 1
\sin 2x | 2\sin x\cos x
\tan x | \frac{\sin x}{\cos x}
n(n+1)/2 | \frac{n^2+n}{2}
\frac{n(n+1)}{2} | \binom{n+1}{2}
n! | n(n-1)!
a^2-b^2 | (a-b)(a+b)
\log_2 8 | 3
\ln e^2 | 2
\sqrt[3]{27} | 3
|−5| | 5
\lfloor 2.5 \rfloor | 2
3i | 3 i
3i | 0+3i
\frac{1}{2}+\frac{\sqrt3}{2}i | \frac{1+i\sqrt{3}}{2}
e^{i\pi/3} | \frac{1}{2}+\frac{\sqrt3}{2}i
\sqrt{-4} | 2i
(1+i)^2 | 2i
1 ± 2i | 1+2i, 1-2i
-i | \frac{1}{i}
2:3 | 2 : 3
1:2:3 | 2:4:6
3:4 | 3 to 4
5:30 | 05:30
12:00 \text{ noon} | 12:00 \text{ noon}
\text{3:45 PM} | 3:45\text{ p.m.}
\text{Monday} | Monday
\text{March 5} | March 5
\text{Yes, 5} | Yes, 5
\triangle ABC | \triangle ABC
\text{True} | True
\frac{1}{3} \text{ cup} | \frac13
10 \text{ cm} | 10 cm
10 \text{ cm} | 10cm
10 \text{ cm} | 10 \ \text{cm}
10 \text{ cm} | 10\,\text{centimeters}
10 \text{ cm}^3 | 10 \text{ cubic cm}
25^\circ C | 25^\circ\text{C}
25^\circ C | 25
45° | 45
\frac{\pi}{4} \text{ radians} | \frac{\pi}{4}
£5 | 5 \text{ pounds sterling}
\$1,000 | 1000
\$0.50 | 0.5
Rs. 500 | 500
5 \text{ km/h} | 5 \text{ kilometers per hour}
60 \text{ mph} | 60 \text{ miles/hour}
9.8 \text{ m/s}^2 | 9.8 \text{ meters per second squared}
3 \text{ dozen} | 36
2.5 million | 2500000
100\% | 1
0\% | 0
25\% | 0.25
25\% | \frac{1}{4}
33\frac{1}{3}\% | \frac13
33\frac13 \% | 33\frac{1}{3}
\frac{x}{2} | 0.5x
\frac{x}{2} | x/2
3^{2x} | 9^x
-x+3 | 3-x
\left(\frac{1}{2}\right)^3 | \frac18
12\text{th} | 12
21^{st} | 21
1st | 1
42 | forty-two
5! | 120
100 | 10^{2}
\{1, 2, 3, \ldots\} | \{1,2,3,\dots\}
\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix} | \begin{pmatrix} 1 & 2 \\[1ex] 3 & 4 \end{pmatrix}
\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix} | \left(\begin{matrix} 1 & 2 \\ 3 & 4 \\ \end{matrix}\right)
\begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix} | -2
\langle 1, 2, 3\rangle | (1,2,3)
\begin{pmatrix} \frac12 \\ 0.5 \end{pmatrix} | \begin{pmatrix} 0.5 \\ \dfrac{1}{2} \end{pmatrix}
x^2+y^2=1 | y^2 + x^2 = 1
x^2+y^2=1 | x^2+y^2-1=0
xy = 1 | y = \frac{1}{x}
y = -2x | y=-2 x
y=2x+3 | 2x+3=y
a=1,b=2 | b=2,a=1
(a,b)=(1,2) | a=1, b=2
x = 2k\pi, k \in \mathbb{Z} | x=2k\pi \text{ where } k \in \mathbb{Z}
f(x)=x^2 | x^2
P(x)=x^2+1 | P(x) = 1+x^2
\alpha+\beta | β+α
\theta = 30^\circ | 30^\circ
θ = 30° | 30
3\text{ and }5 | 5, 3
\text{3 and 5} | 3, 5
x=1\text{ or }x=-1 | \pm1
\text{none} | none
7.0 | 7
007 | 7
2/4 | 1/2
\frac{6}{4} | \frac32
0.75 | \frac{3}{4}
1{,}234.5 | 1234.5
1,234.5 | 1234.5
1 234,5 | 1 234,5
\text{A and C} | A, C
I, II | I and II
\text{I and III only} | I and III only
4\pi\text{ cm}^2 | 4\pi
4\pi\text{ cm}^2 | 4\pi \text{ square cm}
2\sqrt{3}\text{ units} | 2\sqrt3
x^5 - x^4 + x^3 - x^2 + x - 1 | (x-1)(x^4+x^2+1)
\mathbb{Z} | ℤ
(-∞, ∞) | \mathbb R
[0,1] | 0 \le x \le 1
x \in (0,1) | 0<x<1
k > 5 | (5,\infty)
5.0 \times 10^{-3} | 0.005
5 × 10⁻³ | 0.005
x₁ + x₂ | x_1+x_2
3⅓ | \frac{10}{3}
¾ | 0.75
2³ | 8
5 | ５
π/2 | \frac{\pi}{2}
10 000 | 10000
1'000 | 1000
\frac{1}{2}x | \frac{x}{2}
a\sqrt{b} | \sqrt{b}a
\mathrm{cm} | \text{cm}
\textcolor{red}{5} | 5
\mathbf{5} | 5
{\bf 5} | 5
\displaystyle\frac{1}{2} | \frac12
5\phantom{0} | 5
8\text{ }\text{cm} | 8 cm
\text{about } 5 | \text{about } 5
\underline{5} | 5
\Large 5 | 5
\approx 3.14 | 3.14
1\text{ hour }30\text{ minutes} | 1 hour 30 minutes
1\text{ hour }30\text{ minutes} | 1 hour and 30 minutes
6' | 6'
5 | 5\ \text{units}
6.02e23 | 6.02 × 10²³
1e22 | 1 \times 10^{22}
1e+22 | 1e22
1e-07 | 1e-7
1e-7 | \frac{1}{10^7}
1e-7 | \frac{1}{10000000}
3\text{ hours} | 3\,\mathrm{h}
3\text{ hours} | 3 \text{ h}
5\text{ kg} | 5\,\text{kilograms}
20 \text{ inches} | 20''
6.5\% | 0.065
2+2i | 2i+2
2+2i | 2\left(1+i\right)
-1+i\sqrt{3} | i\sqrt3-1
2e^{i\pi/3} | 1+\sqrt{3}i
2\operatorname{cis} 60^\circ | 2\operatorname{cis}60^\circ
\frac{1+i}{2} | 0.5+0.5i
0.\overline{9} | 1
1.\overline{3} | \frac43
1.\overline{3} | 1\frac13
0.\overline{12} | \frac{4}{33}
0.8\overline{3} | 5/6
[2,5) | 2 \le x < 5
[2,5) | x \in [2,5)
[2,5) | \{x \mid 2 \le x < 5\}
[2,5) | 5>x\ge2
(3, \infty) | x>3
x>3 | (3, \infty)
(-\infty, -1) \cup (1, \infty) | |x|>1
(-\infty, -1) \cup (1, \infty) | x<-1 \text{ or } x>1
(-\infty, -1) \cup (1, \infty) | x \in (-\infty,-1) \cup (1,\infty)
(-\infty, 0) \cup (0, \infty) | \mathbb{R} \setminus \{0\}
(-\infty, 0) \cup (0, \infty) | x\neq0
(-\infty, 0) \cup (0, \infty) | \{x \in \mathbb{R} : x \neq 0\}
\emptyset | \{ \}
\emptyset | \left\{\right\}
\emptyset | \{\,\}
\{0\} | 0
12^\text{th} | 12
12 | 12^{\mathrm{th}}
12 | 12\text{th}
12 | 12^{\textrm{th}}
1,\!000,\!000 | 10^6
1 000 000 | 1{,}000{,}000
1 000 000 | 1000000
1 000 | 1000
12\,345 | 12345
12\;345 | 12345
101_2 | 101_{2}
101_2 | (101)_2
101_{2} | 101_{\text{two}}
FF_{16} | FF_{16}
-5 | −5
-5 | –5
3·4 | 12
5 | 5
1/2 | ½
2½ | 2.5
x^{2}+1 | x²+1
10⁻³ | 0.001
6 ÷ 2 | 3
{1, 2, 3} | \{1,2,3\}
2, 3, 5 | 2; 3; 5
2, 3, 5 | 2, 3, \text{ and } 5
2, 3, 5 | 2, 3 and 5
x=2, x=3 | 2, 3
(2,3),(4,5) | (4,5) \text{ and } (2,3)
(x, y, z) = (1, 2, 3) | (1,2,3)
x=1,y=2,z=3 | (1,2,3)
5:30 | 5:30
3:2 | 6:4
\text{(A)} | A
\text{(A)} | \mathbf{(A)}
\text{(A)} | \textbf{(A) } 12
\text{(A)} | \text{A}
\text{(A)} | \text{A) 12}
\text{(A)} | \text{Option A}
\text{(A)} | (A)
A, B | A and B
\text{Alice} | Alice
\text{Alice} | \mathrm{Alice}
\text{Alice} | \textit{Alice}
\text{Alice} | \text{Alice }
\text{Alice} | \text{The answer is Alice}
\text{Saturday} | \text{ Saturday}
42 | \text{The final answer is } 42
42 | \text{Answer: } 42
42 | \text{Answer} = 42
42 | Answer: 42
42 | \text{So the answer is } 42.
42 | \text{Total: } 42
42 | n = 42
\frac{a}{b} | a/b
100! | 100\cdot 99!
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}1\\[4pt]2\end{pmatrix}
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix} 1 \\[0.5em] 2 \end{pmatrix}
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}1\\2\\\end{pmatrix}
\begin{pmatrix}1\\2\end{pmatrix} | \left(\begin{array}{c}1\\2\end{array}\right)
\begin{pmatrix}1&2\\3&4\end{pmatrix} | \begin{bmatrix}1&2\\3&4\end{bmatrix}
\begin{pmatrix}\frac12\\2\end{pmatrix} | \begin{pmatrix}0.5\\2\end{pmatrix}
1, 2, \ldots, 10 | 1, 2, ..., 10
1, 2, \ldots, 10 | 1, 2, …, 10
1 + 2 + \cdots + n | 1+2+\dots+n
2 \pm \sqrt{3} | 2+\sqrt3 \text{ and } 2-\sqrt3
x=2\pm\sqrt3 | 2-\sqrt3,2+\sqrt3
\pm 1, \pm 2 | -2,-1,1,2
3\frac{1}{2}\text{ hours} | 3.5 hours
25 \text{ mph} | 25 \text{ miles per hour}
100 \text{ m}^2 | 100 \text{ square meters}
100 m^2 | 100 \text{ m}^2
30 cm^2 | 30 \text{ cm}^2
5.00 | 5
\$5.00 | \$5
\$1.50 | 1.5 \text{ dollars}
(3,4) | (3, 4)
y=x+1 | y-x=1
y = x+1 | y=1+x
x^2 + y^2 = 25 | x^2+y^2=5^2
\frac{x^2}{4}+y^2=1 | x^2+4y^2=4
\log_{10} 100 | 2
\frac{\ln 8}{\ln 2} | 3
\sin 30^\circ | \frac12
f(x) = x+1 | x+1
2\sqrt{2}+1 | 1+\sqrt{8}
\sqrt{50} | 5\sqrt{2}
\frac{5}{\sqrt{5}} | \sqrt5
\dfrac{3\pi}{4} | \frac{3}{4}\pi
3\pi/4 | 0.75\pi
2^{-3} | \frac18
8^{2/3} | 4
4! + 1 | 25
\lceil 2.1 \rceil | 3
|{-7}| | 7
0.05 | 5 \times 10^{-2}
5\times10^{3} | 5000
5*10^3 | 5000
5 x 10^3 | 5000
1.2\cdot10^{-4} | 0.00012
\text{June 5} | \text{June 5}
2024-01-05 | 2024-01-05
\text{10 minutes} | 10 \text{ minutes}
1\text{ and }2 | 1, 2
\{a,b\} | \{b,a\}
\text{True} | \text{True}
\mathcal{O}(n) | \mathcal{O}(n)
\overrightarrow{AB} | \overrightarrow{AB}
\text{no real solutions} | \text{no real solutions}
\text{no real solutions} | no real solutions
"""
WRONG = r"""
True | \text{false}
\text{Yes} | \text{yes}
3 red, 2 blue | 3, 2
3 red, 2 blue | 2, 3
3 red, 2 blue | 2 red, 3 blue
120^\circ | 120^\circ\text{C}
120^\circ\text{F} | 120^\circ\text{C}
5=x | 5=y
5 | 4=5
\overline{3+4i} | 3+4i
\overline{AB} | AB
\sqrt[3]{-8} | 1+i\sqrt3
\sqrt[4]{-16} | -2
\lg 100 | \ln 100
{5\choose 2} | 5
3 | \text{It cannot be } 3
0.33 | \frac{1}{3}
0.333333333 | \frac{1}{3}
3.14 | \pi
3.14159265358979 | \pi
\frac{22}{7} | \pi
1.41421356237 | \sqrt{2}
1.5 | \sqrt{2} \approx 1.414
5 | 4=5
x=5 | y=5
y=2x+3 | y=3x+2
5x - 7y + 11z + 4 = 0 | 5x-7y+11z=4
(-\infty,3) | x \le 3
(-\infty,3) | x > 3
x \in [-2,7] | (-2,7)
(-\infty, 2) \cup (3, \infty) | x<2 \text{ and } x>3
\emptyset | \{0\}
\emptyset | 0
1, 1, 2 | 1, 2
(1,2) | (2,1)
(1,2) | \{1,2\}
[1,2] | \{1,2\}
[1,2] | (1,2)
(1,2) | 2, 1
2, 3 | 2
2 | 2, 3
3 | 2 \text{ or } 3
3 | 2, 3
x=1, y=2 | x=2, y=1
x=1, y=2 | (2,1)
2 | \pm 2
52 | 52_8
52_8 | 42
42 | 52_8
528 | 52_8
52_8 | 528
52_8 | 52_9
1+2i | 1-2i
1e22 | 10^{23}
1,2 | 12
12 | 1, 2
1234 | 1, 234
1\frac{4}{5} | \frac45
90^\circ | 90 \text{ radians}
15\mbox{ cm}^2 | 15 \text{ cm}
15\mbox{ cm}^2 | 15 \text{ m}^2
5.4 \text{ cents} | \$5.4
\$36 | €36
3\text{ hours} | 3 minutes
3\text{ hours} | 4 hours
3 | 3 million
2 | 2m
2m | 2
5 \text{ m/s} | 5 \text{ km/h}
12 \text{ apples} | 12 \text{ oranges}
0.5 | 0.5\%
0.5 | 50
50\% | 50 \text{ cm}
DBAC | ABCD
on | no
DBAC | A, B, C, D
A, C | C, A
C | c
C | B
\text{(C)} | \textbf{(B)}\ 5
\textbf{(C)}\ 5 | \textbf{(C)}\ 6
\text{Evelyn} | evelyn
\text{east} | \text{west}
\text{even} | \text{uneven}
42 | \text{not } 42
42 | \text{at least } 42
42 | \text{more than } 42
\text{Yes} | \text{No}
2:1 | 2
2 | 2:1
2:1 | 1:2
2:1 | \frac{2}{1}
5:30 \text{ a.m.} | 5:30 \text{ p.m.}
5:30 | 5:31
\frac{1}{500!} | \frac{1}{502!}
\pi+\frac{1}{500!} | \pi
\pi+\frac{1}{500!} | \pi+\frac{1}{502!}
10^{20} | 10^{20}+1
\sqrt{10^{40}+1} | 10^{20}
1, 2, \ldots, n | 1, 3, 5, \ldots, 2n-1
1, 2, \ldots, n | 1, 2, n
n = 3k, k \in \mathbb{N} | 3
n = 3k, k \in \mathbb{N} | n=3k, k\in\mathbb Z
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}1&2\end{pmatrix}
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}2\\1\end{pmatrix}
p-q | q-p
\sqrt{x^2} | x
2(3) | 5
2k+2 | 2n+2
A | a
f'(x) | f(x)
x' | x
\infty | -\infty
\ln 2 | \log 2
\text{twelve} | 13
5 feet 6 inches | 5 feet
5 | 5x
42 | 42!
1 2 | 12
(1,-16,-4,43) | (-16,1,-4,43)
5 | 5 = 6
\text{no solution} | \text{one solution}
3 | three halves
1 | \text{one half}
5 | -5
10 | 1.0
10 \text{ square units} | 10 \text{ cubic units}
x>3 | y>3
x+y<3 | x+y\le 3
A\cup B | A\cap B
\text{Alice, Bob} | \text{Bob, Alice}
6r^2-4r-24 | 6r^2-4r+24
(2,3) \cup (5,7) | (2,3), (5,7)
(1,2), (3,4) | (2,1), (3,4)
x \geq 0 | x > 0
x \neq 1 | x = 1
x \ne 1 | 1
x<3 | 3
x \le 3 | 3
(2,\infty) | 2
0.5 | 0.51
0.6667 | \frac23
0.333 | 0.\overline{3}
3.14159\ldots | \pi
12345678901234567890 | 12345678901234567891
0.1 | 0.10000000000000000001
10^{30} | 10^{30}+1
e^{\pi\sqrt{163}} | 262537412640768744
\sin 2x | 2\sin x
3i | -3i
1:2:3 | 1:3:2
1:10 | 2:20
\text{Monday} | \text{Tuesday}
\text{March 5} | March 6
\text{May 2} | 2
\text{no} | \text{on}
abc | cab
ABC | BCA
ACBD | ABCD
\text{True} | False
0 | False
1 | True
\frac13 \text{ cup} | \frac13 \text{ cups of sugar}
10 \text{ cm} | 10 \text{ mm}
10 \text{ cm} | 0.1 \text{ m}
10 \text{ cm}^3 | 10 \text{ cm}^2
25^\circ C | 25^\circ F
45^\circ | \frac{\pi}{4}
£5 | \$5
50 \text{ cents} | 50 \text{ dollars}
60 \text{ mph} | 60 \text{ km/h}
3 | 3 dozen
25\% | 0.025
0.25 | 0.25\%
5\% | 5 \text{ cents}
\{1, 2, 3, \ldots\} | \{1,2,3\}
2, 4, 6, \ldots | 2, 4, 8, \ldots
\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix} | \begin{bmatrix} 1 & 3 \\ 2 & 4 \end{bmatrix}
\begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix} | \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}
x^2+y^2=1 | x^2+y^2=2
x^2+y^2=1 | 1
x=2 | x=-2
\frac{\pi}{2}+k\pi | \frac{\pi}{2}
2k\pi | 2\pi
\text{I and II} | II and III
2 | 2, 2
\mathbb{Z} | \mathbb{N}
\mathbb{R} | \mathbb{Q}
x\in(0,1) | y \in (0,1)
S | 5
O | 0
l | 1
1\text{ hour }30\text{ minutes} | 1 hour 20 minutes
3:00 | 3
\angle ABC | \angle CBA
3\text{ hours} | 3\text{ days}
5\text{ kg} | 5\text{ g}
5 \text{ miles} | 5 \text{ kilometers}
20\text{ cm} | 20\text{ inches}
2+2i | 2+2j
0.\overline{3} | 0.3
0.\overline{3} | 0.33
[2,5) | 2<x<5
(3, \infty) | [3,\infty)
\emptyset | \{\emptyset\}
1, 000 | 1000
101 | 101_2
101_2 | 5
101_2 | 101_3
FF_{16} | FE_{16}
2, 3 | 2, 4
(1,2,3) | \{1,2,3\}
5:30 | 5:03
5:30 | 5.5
5:30 | 530
3:4 | \frac34
3:4 | 0.75
1:2:3 | 1:2
\text{(A)} | \text{(B)}
\text{(A)} | \text{(a)}
A | \text{A or B}
A | AB
BAD | DAB
\text{left} | \text{felt}
\text{stop} | \text{spot}
no | on
eat | tea
ate | tea
god | dog
\text{Alice} | \text{alice}
\text{increasing} | \text{decreasing}
42 | \text{less than } 42
42 | \text{between 40 and } 42
42 | \sqrt{42}
42 | 42^2
42 | \text{not 42}
\frac{1}{500!} | 0
0 | \frac{1}{500!}
1 | 1+10^{-100}
1 | 1+10^{-20}
0 | 10^{-20}
0 | 1e-20
2^{100} | 2^{100}+1
0.000001 | 0.0000011
0.333333 | 0.333334
0.333333 | \frac{1}{3}
1.0000001 | 1
\sqrt{2} | 1.414
e | 2.71828
\frac{\pi}{6} | 0.5236
10^{100} | 10^{100}+1
100! | 100!+1
x+10^{-20} | x
\frac{x}{3} | 0.333333x
\begin{pmatrix}1/3\end{pmatrix} | \begin{pmatrix}0.333333\end{pmatrix}
(1/3, 2) | (0.333333, 2)
\frac13, 2 | 0.333333, 2
n = 3k, k \in \mathbb{N} | n=3
k\pi, k\in\mathbb{Z} | \pi
2n+1, n \in \mathbb{Z} | 2n+1, n \in \mathbb{N}
1, 2, 3, \ldots | 1, 2, 3
1, 2, \ldots, 10 | 1, 2, 10
1 + 2 + \cdots + n | 1 + 3 + \cdots + n
2\pm\sqrt3 | 2+\sqrt3
25 \text{ mph} | 25 \text{ ft/s}
\$1.50 | 150
₹500 | \$500
(3,4) | [3,4]
(3,4] | [3,4)
y=x+1 | x=y+1
a+b | a-b
x+1 | y+1
\text{June 5} | \text{July 5}
2024-01-05 | 2018
1/2/2024 | 1/2/2023
True | False
O(n) | O(n^2)
\overrightarrow{AB} | \overrightarrow{BA}
3x | 3
\frac{3}{x} | 3
3\text{ or }4 | 3
3 \text{ and } 4 | 4
5 | 5, 5
7 | 7 \text{ or } 8
7 | \text{either 7 or 8}
7 | 7?8
12 | 1\cdot 2
12 | 1|2
34 | 3 4
3.4 | 3,4
"""
ONE_WAY = {("52_8", "52"), ("52", "52_8"), ("101", "101_2")}
"""An answer may leave out the base of a key, not the other way round."""


def rows(table):
    return [tuple(part.strip() for part in line.split(" | ")) for line in table.strip().splitlines()]


@pytest.fixture(scope="module")
def algebra():
    from racviz.grading.algebra import SympyAlgebra

    return SympyAlgebra()


def both_ways(table):
    for key, answer in rows(table):
        yield key, answer
        if (key, answer) not in ONE_WAY:
            yield answer, key


@pytest.mark.parametrize(("table", "verdict"), [(RIGHT, True), (WRONG, False)], ids=["right", "wrong"])
def test_neighbours(algebra, table, verdict):
    pairs = list(both_ways(table))
    assert len(pairs) > 400
    assert [pair for pair in pairs if right(pair[0], f"Hence \\boxed{{{pair[1]}}}.", algebra) is not verdict] == []
