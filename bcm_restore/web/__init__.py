"""The page of `bcm-restore web`: paint a mask and see, and a tab for each other task. Gradio builds and serves it."""
