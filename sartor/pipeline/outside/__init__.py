"""Files that go out with an export and run without Sartor: nothing here imports it, but for its neighbours here.

`assembled` joins some of them into one script. They say anew, in plain steps, what the engines of serving say for many
variants at once; the tests of exports hold both to the same answers.
"""
